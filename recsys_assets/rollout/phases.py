"""The pure decision: from the world as it stands to the one next thing that a release does.

Here: `decide`. Not here: reading the world, acting on it (tick.py), the numbers behind a verdict (analysis.py).

    gated -> shadow -> canary step 0..n -> baking (100 %, stable kept hot) -> champion
    a first release, with nobody to compare with: gated -> champion
    ends: champion | rejected (before any user saw it) | rolled_back
          held (nobody decided in time, nobody looked after it, a pass became improbable, or one episode is all that
          speaks against it: no harm is claimed, and the digest is not denied)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from recsys_assets.platform.interface import ServiceStatus
from recsys_assets.records import Decision, Outcome, Phase, Verdict
from recsys_assets.rollout.evidence import (
    ALL_CHECKS,
    COUNTED,
    ERRORS,
    GUARDRAILS,
    QUALITY,
    RATIO,
    STABLE,
    STALL_SECONDS,
    answered_lately,
)
from recsys_assets.rollout.route import RouteState, lease_is_over, planned_split, stable_service
from recsys_assets.rollout.shares import overexposed
from recsys_assets.rollout.taking import weight_taken
from recsys_assets.rollout.world import World

Action = Literal["hold", "advance", "promote", "roll_back", "reject", "pause"]
WAITS_FOR_APPROVAL: Final = "waits for a person's approval"


def decide(world: World, now: datetime) -> Decision:
    """The one next thing. Ends stay; harm outranks everything but a broken stable; no data never moves anything on."""
    route = world.route
    if route.phase.is_end:
        return _stay(world, "hold", f"the release has ended: {route.phase.value}")
    return _stop(world, now) or _wait(world, now) or _go_on(world, now)


def clock_was_set(world: World, decision: Decision, jump_seconds: float) -> Decision:
    """What becomes of a decision when the wall clock was set since the last look: nobody's verdict on the model.

    A failure of the offline gate, and a person that is called, stay; an end stays. All else ends as held. A failure
    that is shown takes the weight, too, but denies nothing: where times jump, one episode looks like two.
    """
    shown = [v for v in world.failed(*GUARDRAILS) if decision.action == "roll_back"]
    gated = world.outcome(world.gate) is Outcome.FAIL  # it looked at no clock
    if world.route.phase.is_end or gated or decision.action == "pause":
        return decision
    live = world.route.phase in {Phase.CANARY, Phase.BAKING}
    why = f"the clock was set by {jump_seconds:+.1f} s since the last look: times say nothing about this release"
    if shown:
        why = f"{why}; weight taken away; digest not denied; {_reasons(shown)}"
    return _to(world, "roll_back" if live else "reject", Phase.HELD, why)


def _stop(world: World, now: datetime) -> Decision | None:
    """Whatever ends the release early, or forbids to touch it."""
    route = world.route
    live = route.phase in {Phase.CANARY, Phase.BAKING}
    against = world.failed(*GUARDRAILS) if live else []
    if live and (stalled := _stable_stalls(world)):
        return _stay(world, "hold", f"stable may not get all users before it answers again: {stalled}")
    if live and (broken := _stable_is_broken(world)):
        canary = f"the canary fails too ({_reasons(against)})" if against else "the canary shows no failure"
        return _stay(world, "pause", f"frozen, call a person: {broken}; {canary}; neither may get all users unseen")
    if route.release.model.bundle_digest in world.denied:
        return _end(world, "this digest was rolled back before and nobody has overridden that")
    if against:
        taken = weight_taken(route.release.model, against, earlier=world.episodes)
        return _to(world, "roll_back", taken.phase, taken.reason).model_copy(update={"episode": taken.episode})
    if excess := overexposed(route.release, route.phase, route.split):
        return _to(world, "roll_back" if live else "reject", Phase.HELD, excess)
    if not live and Outcome.FAIL in {world.outcome(world.gate), world.outcome(world.shadow)}:
        return _refused(world)
    if now >= route.deadline + world.waited and route.paused is None and not _only_waits_for_a_person(world, now):
        why = f"no verdict by the deadline {route.deadline.isoformat(timespec='seconds')}"
        # No evidence is no harm: the weight is taken, and the digest is not denied.
        action: Action = "roll_back" if live else "reject"
        return _to(world, action, Phase.HELD, f"{why}: {'; '.join(_missing(world, now)) or 'nobody looked in time'}")
    if live and route.paused is None and (futile := _futile(world)):
        # No claim of harm: the digest is not denied and nothing is marked. But no user gains from more of it, either.
        return _to(world, "roll_back", Phase.HELD, _reasons([futile]))
    if turned := _turned(world):
        return _to(world, "roll_back", Phase.HELD, f"the evidence turned while it baked: {_reasons([turned])}")
    return None


def _turned(world: World) -> Verdict | None:
    """The verdict on quality where everybody has the model and the data that could be read do not carry it (any more).

    Nobody is compared at 100 %: waiting would show an unproven model to all users, and bring no evidence. Where nothing
    can be read, the next look may read it again; the deadline of the bake ends that.
    """
    if world.route.phase is not Phase.BAKING:
        return None
    quality = world.named(QUALITY)
    if quality is None or quality.model_version != world.route.version or quality.basis == "none":
        return None
    return quality if quality.outcome is Outcome.INCONCLUSIVE else None


def _refused(world: World) -> Decision:
    """Before any user saw it."""
    failed = [v for v in (world.gate, world.shadow) if v and world.outcome(v) is Outcome.FAIL]
    return _to(world, "reject", Phase.REJECTED, _reasons(failed))


def _futile(world: World) -> Verdict | None:
    """The verdict by which a pass has become improbable, where routing and counting can be trusted.

    It waits while the errors are an open question: if they are harm, the release shall end by that name.
    """
    quality = world.named(QUALITY)
    if quality is None or quality.model_version != world.route.version or world.open_questions(RATIO, COUNTED, ERRORS):
        return None
    return quality if quality.futile and quality.outcome is Outcome.INCONCLUSIVE else None


def _wait(world: World, now: datetime) -> Decision | None:
    """Whatever keeps this tick from moving on, though nothing speaks against the release."""
    route = world.route
    if route.paused is not None:
        return _stay(world, "hold", route.paused.told())
    if route.manual_edit:
        return _stay(world, "hold", f"{route.manual_edit}; restore it or roll back")
    if lease_is_over(route, now) and route.phase in {Phase.CANARY, Phase.BAKING}:
        return _stay(world, "hold", "nobody had looked for longer than the lease; it is renewed before anything else")
    if not world.ready(route.release.model.service_name):
        status = world.services.get(route.release.model.service_name)
        return _stay(world, "hold", f"{route.release.model.service_name} is not ready: {_why(status)}")
    if not world.guarded and route.release.champion is not None:
        return _stay(world, "hold", "no living guard watches: nothing moves on until one does")
    if missing := _missing(world, now):
        asks = missing == [WAITS_FOR_APPROVAL]
        return _stay(world, "hold", "; ".join(missing)).model_copy(update={"asks_approval": asks})
    return None


def _missing(world: World, now: datetime) -> list[str]:
    """What the next step of this phase still lacks."""
    route, plan = world.route, world.route.release.plan
    if route.phase is Phase.GATED:
        return _unproven("offline gate", world, world.gate)
    if route.phase is Phase.SHADOW:
        again = [] if world.gate is None else _unproven("bundle", world, world.gate)
        return _unproven("shadow", world, world.shadow) + again
    if route.phase is Phase.BAKING:
        left = (route.entered_at + timedelta(seconds=plan.bake_seconds) - now).total_seconds()
        baking = [f"bakes for another {left:.0f} s"] if left > 0 else []
        return baking + world.open_questions(*ALL_CHECKS)
    if not _is_last_step(route):
        return _unseen(world) + _not_looked_for_harm(world) + world.open_questions(RATIO, COUNTED, STABLE)
    waits = _unseen(world) + world.open_questions(*ALL_CHECKS)
    asks = plan.needs_approval and not world.approved and route.release.model.drill is None
    return waits or ([WAITS_FOR_APPROVAL] if asks else [])


def _unseen(world: World) -> list[str]:
    """Each step is really seen, the last one too: its verdicts may have passed before it began."""
    seen, wanted = min(world.visitors), world.route.release.plan.min_visitors_per_arm
    return [f"{seen} of {wanted} visitors in the smaller arm of this step"] if seen < wanted else []


def _not_looked_for_harm(world: World) -> list[str]:
    """Before a step grows, harm must have been looked for in enough data; that it was not found is enough there."""
    quality = world.named(QUALITY)
    if quality is None or quality.model_version != world.route.version:
        return [f"{QUALITY}: no verdict"]
    return [] if quality.basis == "enough" else [f"{QUALITY}: {quality.reason}"]


def _go_on(world: World, now: datetime) -> Decision:
    """The step after this one. Only called when nothing speaks against it and nothing is missing."""
    route = world.route
    plan, first = route.release.plan, route.release.champion is None
    everybody_next = first or route.phase is Phase.BAKING or (route.phase is Phase.CANARY and _is_last_step(route))
    if everybody_next and (drill := route.release.model.drill):
        return _end(world, f"the drill {drill} passed every check; a drill is never promoted")
    if route.phase is Phase.BAKING or first:
        why = "there was no champion to compare with" if first else f"baked {plan.bake_seconds:.0f} s at 100 %"
        return _to(world, "promote", Phase.CHAMPION, why)
    if route.phase is Phase.GATED and plan.shadow_requests:
        return _to(world, "advance", Phase.SHADOW, "the offline gate passed")
    if route.phase in {Phase.GATED, Phase.SHADOW}:
        return _to(world, "advance", Phase.CANARY, "answers in the shadow as it should", step=0)
    if _is_last_step(route):
        return _to(world, "advance", Phase.BAKING, "every verdict passed", step=route.step)
    why = f"{min(world.visitors)} visitors in the smaller arm and nothing against it"
    return _to(world, "advance", Phase.CANARY, why, step=route.step + 1)


def _stable_is_broken(world: World) -> str:
    stable = stable_service(world.route.release)
    if not world.ready(stable):
        return f"stable {stable} is not ready ({_why(world.services.get(stable))})"
    failed = world.failed(STABLE)
    return f"stable {stable} is broken ({_reasons(failed)})" if failed else ""


def _stable_stalls(world: World) -> str:
    """Why stable may not get all users just now, where one episode is all that speaks against it."""
    failed, stable = world.failed(STABLE), stable_service(world.route.release)
    if any(v.episode is None for v in failed):
        return ""
    if not world.ready(stable):
        unready = f"{stable} is not ready ({_why(world.services.get(stable))})"
        lately = stable in world.services and answered_lately(world.verdicts)
        return f"{unready}, and answered within {STALL_SECONDS:.0f} s" if lately else ""
    return _reasons(failed)


def _only_waits_for_a_person(world: World, now: datetime) -> bool:
    route = world.route
    at_the_end = route.phase is Phase.CANARY and _is_last_step(route)
    proven = not _unseen(world) and not world.open_questions(*ALL_CHECKS)
    return at_the_end and route.release.plan.needs_approval and proven


def _is_last_step(route: RouteState) -> bool:
    return route.step == len(route.release.plan.steps_bp) - 1


def _end(world: World, reason: str) -> Decision:
    """Stop: a roll-back where users saw the model, else held, which may be tried again."""
    if world.route.phase in {Phase.CANARY, Phase.BAKING}:
        return _to(world, "roll_back", Phase.ROLLED_BACK, reason)
    return _to(world, "reject", Phase.HELD, reason)


def _to(world: World, action: Action, phase: Phase, reason: str, *, step: int | None = None) -> Decision:
    route = world.route
    at = route.step if step is None else step
    split = planned_split(route.release, phase, at)
    return _decision(world, action, reason).model_copy(update={"phase": phase, "step": at, "split": split})


def _stay(world: World, action: Action, reason: str) -> Decision:
    return _decision(world, action, reason)


def _decision(world: World, action: Action, reason: str) -> Decision:
    route = world.route
    found = tuple(v for v in (world.gate, world.shadow, *world.verdicts) if v is not None)
    return Decision(
        release_id=route.release.release_id,
        action=action,
        phase=route.phase,
        step=route.step,
        split=route.split,
        reason=reason,
        verdicts=found,
    )


def _unproven(name: str, world: World, verdict: Verdict | None) -> list[str]:
    if world.outcome(verdict) is Outcome.PASS:
        return []
    return [f"{name}: {verdict.reason if verdict else 'no verdict for this version'}"]


def _reasons(verdicts: list[Verdict]) -> str:
    return "; ".join(f"{v.check} {v.outcome.value}: {v.reason}" for v in verdicts)


def _why(status: ServiceStatus | None) -> str:
    return "absent" if status is None else status.reason
