import ssl

import kopf
import pytest

from media_operator import handlers
from media_operator.followers import Followers
from media_operator.watched import Watched
from planning import SETTINGS


def test_own_marks_of_kopf_lie_under_another_prefix_than_ours() -> None:
    # Kopf does not see changes under its own prefix: ours would wake nothing.
    settings = handlers.kopf_settings()
    assert settings.persistence.finalizer.startswith("kopf.media-operator.io/")
    for storage in (settings.persistence.progress_storage, settings.persistence.diffbase_storage):
        assert getattr(storage, "prefix", None) == "kopf.media-operator.io"


def test_nothing_makes_kopf_write_into_the_objects() -> None:
    registry = handlers.assets_registry(
        lambda *_: None, Watched(lambda: 0.0), Followers(lambda *_: None), SETTINGS, forget_profiles=lambda: None
    )
    assert not list(registry._changing.get_all_handlers())
    assert not list(registry._spawning.get_all_handlers())
    assert list(registry._watching.get_all_handlers())
    assert not handlers.kopf_settings().posting.enabled


def test_kopf_takes_the_certificates_that_our_own_client_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ssl.create_default_context

    def strict(*arguments: object, **options: object) -> ssl.SSLContext:
        """Do as Python 3.13 does."""
        context: ssl.SSLContext = made(*arguments, **options)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    plain = kopf.ConnectionInfo(server="https://example.org")
    assert plain.as_ssl_context().verify_flags & ssl.VERIFY_X509_STRICT
    ours = handlers._Connection(**vars(plain)).as_ssl_context()
    assert not ours.verify_flags & ssl.VERIFY_X509_STRICT
    assert ours.verify_mode is ssl.CERT_REQUIRED
    assert ours.check_hostname
