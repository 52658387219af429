"""The client for ordinary programs. Threads may share one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from rankd.base import ClientBase
from rankd.errors import RankdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from rankd.calls import Call
    from rankd.decision import Decision
    from rankd.messages import Actions, RankArgs

T = TypeVar("T")


class Client(ClientBase):
    """Calls a rankd service.

    Every call carries an event_id, and every reward a reward_id, made here where none is given: so the client may
    repeat a call whose answer it did not get, and does, until the call's timeout.
    """

    def rank(
        self,
        context: Mapping[str, object],
        actions: Actions,
        *,
        app: str | None = None,
        event_id: str | None = None,
        exclude: Iterable[str] = (),
        slots: Iterable[str] = (),
        k: int | None = 0,
        defer_activation: bool = False,
        default_action: str | None = None,
        timeout: float | None = None,
    ) -> Decision:
        """Chooses one of the actions (or several, for slots).

        Args:
            context: features of the event; see rankd.features for how a value becomes a feature.
            actions: ids, or a dict of id -> features. The first is the baseline.
            app: None means the client's.
            event_id: names the event: the same id with the same content is answered with the stored decision.
                None means a fresh one.
            exclude: ids of actions that must not be chosen.
            slots: names of slots, each of which gets an action of its own.
            k: instead of slots, the number of actions to draw, for slots "0", "1" ... 0 or None means one.
            defer_activation: the decision is learned from only once activate() says that it was shown.
            default_action: the eligible action to return, with is_default set, where the service cannot answer
                (Unavailable, DeadlineExceeded, ResourceExhausted, InternalError). None means the client's rule.
            timeout: seconds, all retries included. None means the client's.

        Raises:
            RankdError: see rankd.errors. InvalidArgument is a ValueError too.
            TypeError: an argument of a wrong type.
        """
        return self._run(
            self._rank(
                context,
                actions,
                app=app,
                event_id=event_id,
                exclude=exclude,
                slots=slots,
                k=k,
                defer_activation=defer_activation,
                default_action=default_action,
                timeout=timeout,
            )
        )

    def rank_many(
        self, requests: Iterable[RankArgs], *, timeout: float | None = None
    ) -> list[Decision]:
        """Many decisions for the price of one call. Only what failed is asked for again.

        Args:
            requests: a dict for each, of rank()'s arguments (but for the timeout).
            timeout: seconds for all of them, retries included. None means the client's.

        Returns:
            A decision for each request, in their order.

        Raises:
            BatchError: some requests failed and had no default action; its `results` holds the others' decisions.
            RankdError: the call failed as a whole. One malformed request is enough, and then none is decided.
            TypeError: an argument of a wrong type.
        """
        call = self._rank_many(requests, timeout)
        return self._run(call) if call.items else []

    def reward(
        self,
        decision: Decision | str,
        value: float,
        *,
        slot: str = "",
        reward_id: str | None = None,
        age: float = 0.0,
        app: str | None = None,
        timeout: float | None = None,
    ) -> int | None:
        """Tells how a decision turned out.

        Args:
            decision: what rank() returned, or its event_id.
            value: finite, within the app's range.
            slot: the slot that earned it. Empty means the first.
            reward_id: names the reward: the same id counts once. None means a fresh one.
            age: seconds since the reward was observed, if it has waited somewhere. The client adds what retries take.
            app: None means the decision's, or else the client's.
            timeout: seconds, all retries included. None means the client's.

        Returns:
            The reward's place in the log: a decision whose model_version is at or past it has learned from it, if its
            window had closed by then. None for a default decision, of which the log knows nothing: nothing is sent.

        Raises:
            RankdError: see rankd.errors; its `reward_id` makes it safe to try again later.
            TypeError: an argument of a wrong type.
        """
        call = self._reward(
            decision, value, slot=slot, reward_id=reward_id, age=age, app=app, timeout=timeout
        )
        return None if call is None else self._run(call)

    def activate(
        self, decision: Decision | str, *, app: str | None = None, timeout: float | None = None
    ) -> int | None:
        """Says that a decision made with defer_activation was shown; without, it is never learned from.

        Args:
            decision: what rank() returned, or its event_id.
            app: None means the decision's, or else the client's.
            timeout: seconds, all retries included. None means the client's.

        Returns:
            The activation's place in the log. None for a default decision: nothing is sent.

        Raises:
            RankdError: see rankd.errors.
            TypeError: an argument of a wrong type.
        """
        call = self._activate(decision, app=app, timeout=timeout)
        return None if call is None else self._run(call)

    def close(self) -> None:
        """Closes the connections. Calls under way and later ones raise RuntimeError."""
        for channel in self._close():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open_channel(self) -> Any:
        if self._tls is None:
            return grpc.insecure_channel(self.target, options=self._options)
        credentials = self._tls.credentials()
        return grpc.secure_channel(self.target, credentials, options=self._options)

    def _run(self, call: Call[T]) -> T:
        try:
            # Nearly every call ends here, and stamina's loop would cost it 40 us.
            return self._attempt(call)
        except RankdError as error:
            first = error
        try:
            for attempt in call.retries():
                with attempt:
                    if attempt.num == 1:
                        raise first
                    return self._attempt(call)
        except RankdError as error:
            return call.give_up(error)
        raise AssertionError("stamina's loop ends with a result or an error")

    def _attempt(self, call: Call[T]) -> T:
        method = self._method(call)
        try:
            reply = method(call.message(), timeout=call.begin())
        except grpc.RpcError as error:
            raise call.failed(error) from error
        return call.result(reply)
