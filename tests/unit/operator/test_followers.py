"""A changed profile wakes those assets to which it means something, and no others."""

from typing import Any

from making import WEB, make_asset
from media_operator.followers import Followers
from mediaasset.assets import Key
from mediaasset.jobs import JobPhase
from mediaasset.names import DEFAULT_PROFILE_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile, digest
from planning import after, conditions, decide, finished, job_of, see, started

#: The same profile with less in it.
FEWER = WEB.model_copy(update={"spec": WEB.spec.model_copy(update={"renditions": WEB.spec.renditions[:1]})})


class Woken(Followers):
    """Followers that remember whom they woke."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        super().__init__(lambda *key: self.keys.append(key), pause_seconds=0, delay_seconds=0)

    def told(self) -> list[Key]:
        told, self.keys = self.keys, []
        return told


def named(asset: MediaAsset, name: str, **metadata: Any) -> MediaAsset:
    return asset.model_copy(update={"metadata": asset.metadata.model_copy(update={"name": name, **metadata})})


def default(profile: MediaProfile) -> MediaProfile:
    metadata = profile.metadata.model_copy(update={"annotations": {DEFAULT_PROFILE_ANNOTATION: "true"}})
    return profile.model_copy(update={"metadata": metadata})


async def test_those_that_follow_are_woken_once_their_profile_is_another() -> None:
    woken, follows = Woken(), {"profileUpdatePolicy": "Follow"}
    of_default = named(finished(make_asset(**follows)), "default")
    of_web = named(finished(make_asset(**follows, profileName="web")), "web")
    of_other = named(finished(make_asset(**follows, profileName="other")), "other")
    alone = named(finished(), "alone")
    for asset in (of_default, of_web, of_other, alone):
        woken.seen(asset.key, asset)
    await woken.profile(WEB)
    assert woken.told() == []
    await woken.profile(FEWER)
    assert woken.told() == [("shop", "web")]
    await woken.profile(default(FEWER))
    assert sorted(woken.told()) == [("shop", "default"), ("shop", "web")]
    # Whoever was worked on by it is woken no more.
    done = of_web.model_copy(update={"status": of_web.status.model_copy(update={"profile_hash": digest(FEWER.spec)})})
    woken.seen(done.key, done)
    woken.seen(of_default.key, None)
    await woken.profile(default(FEWER))
    assert woken.told() == []


async def test_a_change_that_the_watch_did_not_tell_of_is_found_by_a_list() -> None:
    woken, asset = Woken(), finished(make_asset(profileUpdatePolicy="Follow", profileName="web"))
    woken.seen(asset.key, asset)
    await woken.check([WEB])
    assert woken.told() == []
    await woken.check([FEWER])
    assert woken.told() == [asset.key]


async def test_a_change_during_an_attempt_wakes_once_more_when_that_has_ended() -> None:
    woken, running = Woken(), started(make_asset(profileUpdatePolicy="Follow", profileName="web"))
    woken.seen(running.key, running)
    await woken.profile(FEWER)
    assert woken.told() == [running.key]
    woken.seen(running.key, running)
    assert woken.told() == []
    ended = finished(make_asset(profileUpdatePolicy="Follow", profileName="web"))
    assert ended.status.profile_hash == running.status.profile_hash
    woken.seen(ended.key, ended)
    assert woken.told() == [running.key]


async def test_after_a_start_the_profiles_may_come_first() -> None:
    woken = Woken()
    await woken.profile(default(FEWER))
    asset = finished(make_asset(profileUpdatePolicy="Follow"))
    woken.seen(asset.key, asset)
    woken.seen(asset.key, asset)
    assert woken.told() == [asset.key]


async def test_what_failed_by_its_profile_is_woken_too_and_what_was_deleted_is_not() -> None:
    woken = Woken()
    running = started()
    failed = job_of(running, JobPhase.FAILED, Reason.SOURCE_TOO_LARGE)
    stalled = after(running, decide(running, see(running, jobs=(failed,))))
    assert conditions(stalled.status)["Stalled"][1] == "SourceTooLarge"
    gone = named(stalled, "gone", deletion_timestamp=stalled.status.completion_time)
    for asset in (stalled, gone):
        woken.seen(asset.key, asset)
    await woken.profile(default(FEWER))
    assert woken.told() == [stalled.key]
