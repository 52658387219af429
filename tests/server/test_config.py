"""rankd.yaml: an empty one works, every setting is explained, every error names its field."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import BaseModel

from policies import ModelSpec
from policies.linear.linucb import LinUCBSettings
from server.config import Config
from server.config_file import ConfigError, load
from server.sections import AppConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "rankd.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, field) of every setting, sections included."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{path}{name}.")


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}"])
def test_an_empty_file_works(tmp_path: Path, content: str) -> None:
    config = load(written(tmp_path, content))
    assert config == load(None) == Config()
    assert list(config.apps) == ["default"]
    settings = config.fold_settings("default", "00" * 16)
    assert settings.policy["type"] == "linucb"
    assert settings.standardise
    assert settings.min_exploration == 0.05
    assert settings.wait_us == 600_000_000
    settings.spec().build()


@pytest.mark.parametrize(
    ("path", "field"),
    [*fields(Config), *fields(AppConfig, "apps.*.")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_setting_is_explained(path: str, field: Any) -> None:
    kind = field.annotation
    section = isinstance(kind, type) and issubclass(kind, BaseModel)
    explained = field.description or (kind.__doc__ if section else "")
    assert explained, f"{path} has no description"
    assert not field.is_required(), f"{path} has no default"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"server": {"prot": 1}}, "server.prot: no such setting"),
        ({"sever": {}}, "sever: no such setting"),
        ({"server": {"port": 70_000}}, "server.port: "),
        ({"server": {"port": "high"}}, "server.port: "),
        ({"server": {"workers": 0}}, "server.workers: "),
        ({"server": {"drain": "5 parsecs"}}, "server.drain: give seconds, or a number with a unit"),
        ({"server": {"drain": -1}}, "server.drain: "),
        ({"learner": {"keep_checkpoints": 1}}, "learner.keep_checkpoints: "),
        ({"log": {"max_bytes": 5}}, "log.max_bytes: "),
        ({"apps": {}}, "apps: "),
        ({"apps": {"../up": {}}}, "apps: '../up': an app's name is"),
        ({"apps": {"": {}}}, "apps: '': an app's name is"),
        ({"apps": {"a": {"mode": "offline"}}}, "apps.a.mode: "),
        ({"apps": {"a": {"salt": "secret"}}}, "apps.a.salt: "),
        ({"apps": {"a": {"policy": {}}}}, "apps.a.policy: type: is missing"),
        ({"apps": {"a": {"policy": {"type": "linucbb"}}}}, "apps.a.policy: type: no policy"),
        (
            {"apps": {"a": {"policy": {"type": "linucb", "alfa": 1}}}},
            "apps.a.policy: alfa: linucb has no such setting; did you mean 'alpha'?",
        ),
        (
            {"apps": {"a": {"policy": {"type": "linucb", "alpha": -1}}}},
            "apps.a.policy: alpha: ",
        ),
        ({"apps": {"a": {"drift": {}}}}, "apps.a.drift: drift.detector: is missing"),
        (
            {"apps": {"a": {"drift": {"detector": "adwin", "clok": 1}}}},
            "apps.a.drift: drift.clok: adwin has no such setting; did you mean 'clock'?",
        ),
        ({"apps": {"a": {"new_actions": {"share": 2}}}}, "apps.a.new_actions: new_actions.share: "),
        ({"apps": {"a": {"min_exploration": 2}}}, "apps.a.min_exploration: "),
        ({"apps": {"a": {"min_exploration": 0}}}, "apps.a: min_exploration 0 logs"),
        ({"apps": {"a": {"reward": {"min": 1, "max": 0}}}}, "apps.a.reward: min (1.0) must be"),
        ({"apps": {"a": {"reward": {"default": 5}}}}, "apps.a.reward: default (5.0) must lie"),
        ({"apps": {"a": {"reward": {"max": float("nan")}}}}, "apps.a.reward.max: "),
        ({"apps": {"a": {"reward": {"wait": "1 week"}}}}, "apps.a.reward.wait: give seconds"),
        ({"apps": {"a": {"reward": "sometimes"}}}, "apps.a.reward: "),
        ("[1, 2]", "expected a mapping of sections, found a list"),
        ("1: {}", "section names must be text"),
        ("a: [", "while parsing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_name_their_field(tmp_path: Path, content: object, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    content = {"server": {"port": -1}, "limits": {"actions": 0}}
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, content))
    assert ["server.port" in line for line in str(caught.value).splitlines()] == [True, False]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        load(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1.5 m", 90), ("1h", 3600), ("7d", 604_800), (3, 3), ("PT1M", 60)],
)
def test_durations(tmp_path: Path, text: object, seconds: float) -> None:
    config = load(written(tmp_path, {"apps": {"a": {"reward": {"wait": text}}}}))
    assert config.apps["a"].reward.wait == timedelta(seconds=seconds)
    assert config.fold_settings("a", "00" * 16).wait_us == seconds * 1_000_000


def test_what_is_not_used_is_not_in_the_log(tmp_path: Path) -> None:
    """Logs from before these settings keep their hashes."""
    settings = load(None).fold_settings("default", "00" * 16)
    assert not {"drift", "new_actions", "partitions"} & set(json.loads(settings.canonical()))


def test_what_is_used_has_every_default_written_out(tmp_path: Path) -> None:
    app = {"drift": {"detector": "adwin"}, "new_actions": {"share": 0.1}}
    config = load(written(tmp_path, {"apps": {"a": app}}))
    said = json.loads(config.fold_settings("a", "00" * 16).canonical())
    assert said["new_actions"] == {"share": 0.1, "until": 20}
    assert said["drift"]["delta"] == 0.002
    assert said["drift"]["action"] == "alert"


def test_on_needs_no_quotes(tmp_path: Path) -> None:
    """YAML 1.1 takes the word for true."""
    for text in ("on: residual", '"on": residual'):
        app = f"apps: {{a: {{drift: {{detector: adwin, {text}}}}}}}"
        drift = load(written(tmp_path, app)).fold_settings("a", "00" * 16).drift
        assert drift is not None
        assert drift["on"] == "residual"


def test_always_sent_has_a_short_form(tmp_path: Path) -> None:
    config = load(written(tmp_path, {"apps": {"a": {"reward": "always_sent"}}}))
    assert config.apps["a"].reward.always_sent


def test_command_line_before_environment_before_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {"server": {"port": 1, "workers": 2, "host": "0.0.0.0"}})
    monkeypatch.setenv("RANKD_SERVER__PORT", "3")
    monkeypatch.setenv("RANKD_SERVER__WORKERS", "4")
    server = load(path, {"server": {"port": 5}}).server
    assert (server.port, server.workers, server.host) == (5, 4, "0.0.0.0")
    assert load(path).server.port == 3
    monkeypatch.setenv("RANKD_APPS", '{"a": {"mode": "apprentice"}, "b": {}}')
    assert load(path).apps["a"].mode == "apprentice"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANKD_SERVER__PORT", "many", r"server\.port: "),
        ("RANKD_APPS", "{", "apps"),
        ("RANKD_SERVER", "5", "server"),
    ],
)
def test_errors_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        load(None)


def test_a_section_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="server: "):
        load(written(tmp_path, {"server": 5}))


def test_the_childrens_copy_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor hands its configuration to its processes as JSON."""
    monkeypatch.setenv("RANKD_LOG__LATENESS", "3s")
    config = load(None, {"apps": {"a": {"reward": {"wait": "1500ms"}}}})
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_a_salt_of_ones_own() -> None:
    config = load(None, {"apps": {"a": {"salt": "ab" * 16}, "b": {}}})
    assert config.fold_settings("a", "00" * 16).salt == "ab" * 16
    assert config.fold_settings("b", "00" * 16).salt == "00" * 16


def test_settings_name_themselves_by_their_content() -> None:
    config = load(None)
    one, same = (config.fold_settings("default", "00" * 16) for _ in range(2))
    assert one.sha256() == same.sha256()
    other = one.model_copy(update={"lateness_us": 1})
    assert other.sha256() != one.sha256()
    assert one.spec() == ModelSpec({"type": "linucb", **LinUCBSettings().model_dump()})


def test_defaults_are_written_out_so_that_a_later_version_may_have_others() -> None:
    plain, spelled = (
        load(None, {"apps": {"a": {"policy": policy}}}).fold_settings("a", "00" * 16)
        for policy in ({"type": "linucb"}, {"type": "linucb", "alpha": 0.3})
    )
    assert plain.policy["alpha"] == 0.3
    assert plain.sha256() == spelled.sha256()


KAFKA = {"bootstrap": "kafka:9092"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"server": {"role": "learner"}}, "needs kafka.bootstrap and redis.url"),
        ({"redis": {"url": "redis://redis", "key": "5a" * 32}}, "redis.url needs kafka.bootstrap"),
        ({"kafka": {**KAFKA, "max_record_bytes": 4 << 20}}, "by 1 MiB at least"),
        (
            {
                "kafka": {**KAFKA, "learner_lease": "3s"},
                "log": {"clock_cap": "3s", "lateness": "3s"},
            },
            "three quarters of kafka.learner_lease",
        ),
        ({"kafka": KAFKA, "log": {"lateness": "1s"}}, "log.lateness must be log.clock_cap"),
        ({"learner": {"apps": ["ghost"]}}, "no app 'ghost'"),
    ],
)
def test_sections_that_do_not_go_together(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(written(tmp_path, content))
