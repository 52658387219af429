"""What operators ask and order: status, models, promotions. Reads the data folder; orders become records of the log."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from policies import PolicyError, state_sha256
from rankd.v1 import admin_pb2 as api
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.envelope import EnvelopeError, seal, unseal
from server.fold.records import LogError
from server.fold.settings import FoldSettings
from server.journal.client import (
    JournalBusyError,
    JournalFullError,
    JournalUnavailableError,
)
from server.learning.artefacts import Artefacts
from server.learning.checkpoints import Checkpoints
from server.learning.pieces import pieces_of
from server.serving.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from server.serving.reports import read_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.config import Config
    from server.files import DataFolder
    from server.journal.client import JournalClient
    from server.serving.service import DecisionService


class AdminService:
    """Admin calls of one serving process."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        decisions: DecisionService,
        journal: JournalClient,
        clock_us: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._config = config
        self._apps = sorted(config.apps)
        self._shared = bool(config.kafka.bootstrap)
        self._learns = config.server.role != "server"
        self._decisions = decisions
        self._journal = journal
        self._clock_us = clock_us

    async def apps(self) -> api.AppsReply:
        """Every configured app with its policy, mode and the model version served."""
        reply = api.AppsReply()
        for name in self._apps:
            served = self._decisions.served(name)
            reply.apps.add(
                name=name,
                policy=str(served.settings.policy["type"]),
                mode=served.settings.mode,
                epoch=served.epoch,
                model_version=served.version,
            )
        return reply

    async def status(self, app: str) -> api.StatusReply:
        """Lags, counters and running sums of one app."""
        name = self._decisions.app_name(app)
        served = self._decisions.served(name)
        report = await asyncio.to_thread(read_report, self._folder, self._config, name)
        return report.reply(name, served.version)

    async def models(self, app: str) -> api.ListModelsReply:
        """Versions that can be rolled back to, pinned or exported, oldest first; the served one is the last."""
        name = self._decisions.app_name(app)
        return await asyncio.to_thread(self._models, name)

    def _models(self, app: str) -> api.ListModelsReply:
        self._keeps_models()
        reply = api.ListModelsReply()
        folder = self._folder.checkpoints(app)
        current = self._current(app)
        pinned = read_report(self._folder, self._config, app).status["pinned"]
        for checkpoint in reversed(list(Checkpoints(folder).newest())):
            path = folder / f"{checkpoint.version:020}.ckpt"
            with contextlib.suppress(FileNotFoundError):  # dropped meanwhile
                reply.models.add(
                    epoch=checkpoint.epoch,
                    model_version=checkpoint.version,
                    state_sha256=state_sha256(checkpoint.policy),
                    created=path.stat().st_mtime,
                )
        if current.model_version not in {model.model_version for model in reply.models}:
            reply.models.add(
                epoch=current.model_epoch,
                model_version=current.model_version,
                state_sha256=state_sha256(current.policy),
                created=self._folder.snapshot(app).stat().st_mtime,
            )
        for model in reply.models:
            model.served = model.model_version == current.model_version
            model.pinned = model.model_version == pinned
        return reply

    async def roll_back(self, app: str, version: int) -> api.PromotionReply:
        """The version's state becomes the model's, and learning goes on from there."""
        name = self._decisions.app_name(app)
        model = await asyncio.to_thread(self._version, name, version)
        self._same_epoch(name, model)
        return await self._promote(name, model, pb.Promotion.ACTION_ROLL_BACK)

    async def pin(self, app: str, version: int) -> api.PromotionReply:
        """The version is served until `unpin`, or until a new epoch; learning goes on beside it."""
        name = self._decisions.app_name(app)
        model = await asyncio.to_thread(self._version, name, version)
        self._same_epoch(name, model)
        return await self._promote(name, model, pb.Promotion.ACTION_PIN)

    async def unpin(self, app: str) -> api.PromotionReply:
        """What is learned is served again."""
        name = self._decisions.app_name(app)
        model = await asyncio.to_thread(self._current, name)
        return await self._promote(name, model, pb.Promotion.ACTION_UNPIN)

    async def export(self, app: str, version: int) -> bytes:
        """A model file that `promote` takes, here or elsewhere."""
        name = self._decisions.app_name(app)
        return seal(await asyncio.to_thread(self._version, name, version))

    async def promote(self, app: str, data: bytes) -> api.PromotionReply:
        """Learning goes on from an imported model, in a new epoch.

        Raises:
            InvalidArgumentError: the file is damaged, or not of the policy that the app is configured with.
        """
        name = self._decisions.app_name(app)
        settings = self._decisions.served(name).settings
        try:
            imported = unseal(internal_pb2.Snapshot, data)
            theirs = FoldSettings.model_validate_json(imported.config_json)
            state = settings.spec().load(imported.policy).state()
        except (EnvelopeError, PolicyError, ValueError) as error:
            raise InvalidArgumentError(
                "model", f"cannot be used for app {name!r}: {error}"
            ) from error
        if theirs.standardise != settings.standardise:
            raise InvalidArgumentError("model", "was made with another setting of `standardise`")
        artefact = internal_pb2.Snapshot(app=name, config_json=settings.canonical(), policy=state)
        sha256 = state_sha256(state)
        epoch = pb.Epoch(
            start=pb.Epoch.START_ARTEFACT,
            config_sha256=settings.sha256(),
            state_sha256=sha256,
            libraries=settings.required_libraries(),
        )
        return await self._append(name, pb.KIND_EPOCH, epoch.SerializeToString(), artefact)

    def _keeps_models(self) -> None:
        if not self._learns:
            raise FailedPreconditionError(
                "this server keeps no versions of models; ask a learner (a node with server.role learner or all)"
            )

    def _same_epoch(self, app: str, model: internal_pb2.Snapshot) -> None:
        _, epoch, _ = self._decisions.served(app).published
        if model.model_epoch != epoch:
            raise FailedPreconditionError(
                f"model_version: {model.model_version} belongs to epoch {model.model_epoch}, the app is in epoch "
                f"{epoch}; export it and promote the file"
            )

    async def _promote(
        self, app: str, model: internal_pb2.Snapshot, action: pb.Promotion.Action
    ) -> api.PromotionReply:
        promotion = pb.Promotion(
            action=action,
            epoch=model.model_epoch,
            model_version=model.model_version,
            state_sha256=state_sha256(model.policy),
        )
        return await self._append(app, pb.KIND_PROMOTION, promotion.SerializeToString(), model)

    async def _append(
        self, app: str, kind: pb.Kind, payload: bytes, artefact: internal_pb2.Snapshot
    ) -> api.PromotionReply:
        """Logs what refers to the artefact, once this is where whoever folds the log finds it."""
        now_us = self._clock_us()
        header = pb.Header(app=app, kind=kind, origin_time_us=now_us)
        records = [pb.Record(header=header, payload=payload)]
        if self._shared:
            records[:0] = pieces_of(app, artefact, now_us)
            sha256 = state_sha256(artefact.policy)
        else:
            artefacts = Artefacts(self._folder.artefacts(app))
            sha256 = await asyncio.to_thread(artefacts.save, artefact)
        try:
            acks = await self._journal.append(records)
        except JournalFullError as error:
            raise ResourceExhaustedError(str(error)) from error
        except (JournalBusyError, JournalUnavailableError) as error:
            raise UnavailableError(f"{error}; retry") from error
        return api.PromotionReply(sequence=acks[-1].sequence, state_sha256=sha256)

    def _current(self, app: str) -> internal_pb2.Snapshot:
        try:
            return unseal(internal_pb2.Snapshot, self._folder.snapshot(app).read_bytes())
        except (FileNotFoundError, EnvelopeError) as error:
            raise UnavailableError("no model is published yet; retry") from error

    def _version(self, app: str, version: int) -> internal_pb2.Snapshot:
        """The model of a kept version; 0 means the one that is served."""
        current = self._current(app)
        if version in (0, current.model_version):
            return current
        self._keeps_models()
        try:
            checkpoint = Checkpoints(self._folder.checkpoints(app)).load(version)
        except (FileNotFoundError, EnvelopeError, LogError) as error:
            raise NotFoundError(
                "model_version", f"{version} is not kept; `rankd models list` shows those that are"
            ) from error
        return internal_pb2.Snapshot(
            app=app,
            epoch=checkpoint.epoch,
            published_at=checkpoint.version,
            model_epoch=checkpoint.epoch,
            model_version=checkpoint.version,
            config_json=checkpoint.config_json,
            policy=checkpoint.policy,
        )
