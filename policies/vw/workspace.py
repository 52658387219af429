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

from policies.features import SLOT
from policies.policy import PolicyError
from policies.vw.examples import Example, Label

if TYPE_CHECKING:
    from types import TracebackType

    from policies.vw.options import CommandLine

# VW is quiet. Its counters go on where a saved model stopped: VW would reset them, and then neither does saving a
# loaded model give the same bytes, nor does going on from one equal not having stopped.
_ALWAYS = ["--quiet", "--preserve_performance_counters"]
# What VW answers, and how its lines are labelled.
_CB = (PredictionType.ACTION_PROBS, LabelType.CONTEXTUAL_BANDIT)
_CCB = (PredictionType.DECISION_SCORES, LabelType.CONDITIONAL_CONTEXTUAL_BANDIT)


class Workspace:
    """A model in memory: made new, or loaded from what `save` gave.

    What the caller hands over is trusted: see `policies.vw.policy`.

    Raises:
        PolicyError: VW refuses the command line or the model; the message is VW's own.
    """

    def __init__(self, line: CommandLine, model: bytes | None = None) -> None:
        self._vw: vowpalwabbit.Workspace | None = None
        self._ccb = line.ccb
        self._answer, self._label = _CCB if line.ccb else _CB
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
        if self._vw.get_prediction_type() != self._answer:
            self.close()
            raise PolicyError("args: these options do not give a probability for each action")

    def predict(self, example: Example) -> tuple[list[float], list[float]]:
        """(probability, estimated cost) of each of the K actions.

        The lines are our own examples, not from VW's pool, and are never "finished": finishing counts them as seen, which
        would change what is saved, and the learning rate of --sgd. They are freed as Python objects.
        """
        vw = self._open()
        try:
            lines = [vw.example(line, self._label) for line in example.lines(self._ccb)]
            answer = vw.predict(lines, self._answer)
        except RuntimeError as error:
            _refuse(error)
        count = len(example.actions)
        costs = [line.get_partial_prediction() for line in lines[1 : 1 + count]]
        if not self._ccb:
            return answer, costs
        (ranked,) = (
            answer  # of the one slot: (action, probability), the one that VW would draw first
        )
        return [p for _, p in sorted(ranked)], costs

    def learn(self, example: Example) -> None:
        """One update. The lines come from VW's pool, and go back whatever happens: VW leaks 91 KB otherwise."""
        vw = self._open()
        try:
            # As `parse`, `learn` and `finish_example` do it, without the Python object that they wrap around each line:
            # those take longer than all that VW does.
            lines = vw._parse("\n".join(example.lines(self._ccb)))
            try:
                vw.learn_multi(lines)
            finally:
                vw._finish_example_multi_ex(lines)
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


def _trial(line: CommandLine, k: int, chosen: int | None = None) -> Example:
    """A made-up example. Its context has features in each namespace that the command line may speak of, new ones too."""
    values = "".join(token.partition("=")[2] for token in line.new)
    letters = sorted({letter for letter in values if letter.isascii() and letter.isalpha()} | {"c"})
    context = [
        f"|{letter} {n}:{(n + k) % 7 - 3} {n + 50 + k}:1" for n, letter in enumerate(letters)
    ]
    actions = [f"|i {a + 100} |a {a}:{(a + k) % 5 + 1}" for a in range(_ACTIONS)]
    label = None
    if chosen is not None:
        label = Label(chosen, -((chosen + k) % 3) / 2, 1 / _ACTIONS)
    return Example(" ".join(context), actions, f"|{chr(SLOT)} {k % 2}", label)


def _refuse(error: Exception) -> NoReturn:
    raise PolicyError(f"args: Vowpal Wabbit refuses: {' '.join(str(error).split())}") from error
