"""One Vowpal Wabbit workspace, without the library's traps.

Measured on 9.11.9, x86-64: making or loading a workspace of 18 bits takes 3 ms and saving one 1.3 ms; 5,000
loads in one process grow it by nothing. A workspace holds 16 bytes for each of its 2 ** bits weights.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn, Self

import vowpalwabbit
from vowpalwabbit import LabelType, PredictionType

from policies.policy import PolicyError

if TYPE_CHECKING:
    from types import TracebackType

    from policies.vw.options import CommandLine

# VW is quiet. Its counters go on where a saved model stopped: VW would reset them, and then neither does saving a
# loaded model give the same bytes, nor does going on from one equal not having stopped.
_ALWAYS = ["--quiet", "--preserve_performance_counters"]


class Workspace:
    """A model in memory: made new, or loaded from what `save` gave.

    The caller hands over text lines of VW's format, the shared line first. They are trusted: see `policies.vw.policy`.

    Raises:
        PolicyError: VW refuses the command line or the model; the message is VW's own.
    """

    def __init__(self, line: CommandLine, model: bytes | None = None) -> None:
        self._vw: vowpalwabbit.Workspace | None = None
        try:
            if model is None:
                self._vw = vowpalwabbit.Workspace(arg_list=[*line.new, *_ALWAYS])
            else:
                with TemporaryDirectory(prefix="rankd-vw-") as folder:
                    path = Path(folder, "model")
                    path.write_bytes(model)
                    load = f"--initial_regressor={path}"
                    self._vw = vowpalwabbit.Workspace(arg_list=[*line.resume, *_ALWAYS, load])
        except OSError:
            raise
        except Exception as error:  # VW raises RuntimeError, its bindings whatever C++ threw
            _refuse(error)
        if self._vw.get_prediction_type() != PredictionType.ACTION_PROBS:
            self.close()
            raise PolicyError("args: these options do not give a probability for each action")

    def predict(self, lines: list[str]) -> tuple[list[float], list[float]]:
        """(probability, estimated cost) of each action.

        The examples are our own, not from VW's pool, and are never "finished": finishing counts them as seen, which
        would change what is saved, and the learning rate of --sgd. They are freed as Python objects.
        """
        vw = self._open()
        try:
            examples = [vw.example(line, LabelType.CONTEXTUAL_BANDIT) for line in lines]
            pmf = vw.predict(examples, PredictionType.ACTION_PROBS)
        except RuntimeError as error:
            _refuse(error)
        return pmf, [example.get_partial_prediction() for example in examples[1:]]

    def learn(self, lines: list[str]) -> None:
        """One update. The examples come from VW's pool, and go back whatever happens: VW leaks 91 KB otherwise."""
        vw = self._open()
        try:
            examples = vw.parse("\n".join(lines))
            try:
                vw.learn(examples)
            finally:
                vw.finish_example(examples)
        except RuntimeError as error:
            _refuse(error)

    def save(self) -> bytes:
        """The model. VW writes files only, so it takes the way through a private folder.

        Raises:
            OSError: there is no room for the file.
        """
        vw = self._open()
        with TemporaryDirectory(prefix="rankd-vw-") as folder:
            path = Path(folder, "model")
            try:
                vw.save(path)
            except RuntimeError as error:
                raise OSError(f"Vowpal Wabbit could not write its model: {error}") from error
            return path.read_bytes()

    def close(self) -> None:
        """Frees the model. VW itself would answer nonsense from now on; this object refuses."""
        if self._vw is not None:
            self._vw.finish()
            self._vw = None

    def _open(self) -> vowpalwabbit.Workspace:
        if self._vw is None:
            raise PolicyError("this Vowpal Wabbit workspace is closed")
        return self._vw

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@lru_cache(maxsize=64)
def is_pure(line: CommandLine) -> bool:
    """Whether predicting leaves a model as it is, and a loaded model predicts what the saved one did.

    Found out by trying, on a workspace that is thrown away: which options break it is nowhere written down.
    In 9.11.9 they are --autolink, --automl, --bootstrap, --boosting with --alg adaptive, --random_weights with --sparse_weights.

    Raises:
        PolicyError: VW refuses the line, or the same interactions do not always give the same model.
    """
    questions = [_trial(line, k) for k in range(_TRIALS, 2 * _TRIALS)]
    with Workspace(line) as one, Workspace(line) as other:
        for k in range(_TRIALS):
            for workspace in (one, other):
                workspace.learn(_trial(line, k, k % _ACTIONS))
        model = one.save()
        if other.save() != model:
            raise PolicyError("args: with these options VW does not learn the same thing twice")
        answers = [one.predict(question) for question in questions]
        again = [one.predict(question) for question in questions]
        if again != answers or one.save() != model:
            return False
        with Workspace(line, model) as loaded:
            return answers == [loaded.predict(question) for question in questions]


# Enough for each action to be learned several times, few enough to take milliseconds.
_TRIALS = 24
_ACTIONS = 4


def _trial(line: CommandLine, k: int, chosen: int | None = None) -> list[str]:
    """A made-up example. Its context has features in each namespace that the command line may speak of, new ones too."""
    values = "".join(token.partition("=")[2] for token in line.new)
    letters = sorted({letter for letter in values if letter.isascii() and letter.isalpha()} | {"c"})
    context = [
        f"|{letter} {n}:{(n + k) % 7 - 3} {n + 50 + k}:1" for n, letter in enumerate(letters)
    ]
    lines = [" ".join(["shared", *context])]
    for a in range(_ACTIONS):
        label = f"0:{-((a + k) % 3) / 2}:{1 / _ACTIONS} " if a == chosen else ""
        lines.append(f"{label}|i {a + 100} |a {a}:{(a + k) % 5 + 1}")
    return lines


def _refuse(error: Exception) -> NoReturn:
    raise PolicyError(f"args: Vowpal Wabbit refuses: {' '.join(str(error).split())}") from error
