"""Settings are read from the environment, and a mistake in one stops the start with a sentence."""

import pytest

from errors import ConfigurationError
from settings import PROJECT, Settings, hide_credentials, read_settings


def test_without_variables_every_setting_has_its_default():
    assert read_settings({"PATH": "/bin", "HOME": "/root"}) == Settings(home=PROJECT)


def test_variables_replace_the_defaults(tmp_path):
    settings = read_settings(
        {
            "MILLWRIGHT_HOME": str(tmp_path),
            "MILLWRIGHT_PORT": "8080",
            "MILLWRIGHT_DEMO_DATA": "no",
            "MILLWRIGHT_ALLOWED_HOSTS": "plant.example, 10.0.0.7",
        }
    )
    assert (settings.home, settings.port, settings.demo_data) == (tmp_path, 8080, False)
    assert settings.allowed_hosts == ("plant.example", "10.0.0.7")
    assert settings.database == f"sqlite:///{tmp_path}/data/millwright.db"


@pytest.mark.parametrize(
    ("old", "text", "new", "value"),
    [
        ("RETRAIN_BELOW", "0.7", "retrain_error_ratio", 0.7),
        ("SCHEDULE_HOURS", "0", "monitoring_interval_hours", 0.0),
        ("GRACE_SECONDS", "3", "shutdown_grace_seconds", 3),
        ("LANGUAGE_MODEL_PRIVATE", "1", "language_model_allow_private", True),
    ],
)
def test_a_name_of_the_version_before_is_accepted_with_a_warning(old, text, new, value):
    with pytest.warns(FutureWarning, match=f"MILLWRIGHT_{old} is now called MILLWRIGHT_{new.upper()}"):
        settings = read_settings({f"MILLWRIGHT_{old}": text})
    assert getattr(settings, new) == value


def test_an_old_name_beside_its_new_one_is_refused():
    with pytest.raises(ConfigurationError, match="is the old name of MILLWRIGHT_RETRAIN_PSI"):
        read_settings({"MILLWRIGHT_RETRAIN_SHIFT": "1", "MILLWRIGHT_RETRAIN_PSI": "1"})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PORT", "70000", "from 1 to 65535"),
        ("WORKERS", "0", "at least 1"),
        ("WORKERS", "two", "whole number"),
        ("RETRAIN_PSI", "nan", "from 0 to 100,000"),
        ("DEMO_DATA", "perhaps", "use 1 or 0"),
        ("LANGUAGE_MODEL_URL", "ftp://x", "http:// or https://"),
        ("TRACKING_URI", "somewhere", "use local, none"),
        ("EXECUTOR", "queue", "use local"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name, text, words):
    with pytest.raises(ConfigurationError, match=f"MILLWRIGHT_{name}=.*{words}"):
        read_settings({f"MILLWRIGHT_{name}": text})


def test_an_unknown_name_is_refused_with_the_closest_one():
    with pytest.raises(
        ConfigurationError, match=r"Unknown setting MILLWRIGHT_PROT\. Did you mean MILLWRIGHT_PORT\?"
    ):
        read_settings({"MILLWRIGHT_PROT": "1"})


def test_a_secret_is_not_shown():
    assert "s3cret" not in repr(read_settings({"MILLWRIGHT_LANGUAGE_MODEL_KEY": "s3cret"}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://plant:s3cret@db:5432/mill", "postgresql://db:5432/mill"),
        ("postgresql://plant:s3/cr?t@db/mill", "postgresql://db/mill"),
        # What precedes the slash reads like a host with a port.
        ("postgresql://plant:12/s3cret@db/mill", "postgresql://db/mill"),
        ("postgresql+psycopg://plant:12?s3cret@db/mill", "postgresql+psycopg://db/mill"),
        ("postgresql://plant:s3@cr/et@db/mill", "postgresql://db/mill"),
        ("postgresql://plant:12?key=s3cret@db/mill", "postgresql://…"),
        ("postgresql://db/mill?password=s3@cret", "postgresql://…"),
        ("postgresql:///mill?host=/run/postgresql", "postgresql:///mill?host=/run/postgresql"),
        (
            "postgresql://db/mill?user=u&password=s3cret&sslmode=require",
            "postgresql://db/mill?user=…&password=…&sslmode=require",
        ),
        ("https://mlflow.example:5000/a@b?token=t", "https://mlflow.example:5000/a@b?token=…"),
        ("http://[::1]:5000/x@y", "http://[::1]:5000/x@y"),
        ("sqlite:////srv/plant@home/mlflow.db", "sqlite:////srv/plant@home/mlflow.db"),
        ("no address", "no address"),
    ],
)
def test_credentials_of_a_url_are_hidden_and_nothing_else(url, shown):
    assert hide_credentials(url) == shown


def test_a_secret_is_read_from_a_file(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://user:s3cret@db/plant\n")
    settings = read_settings({"MILLWRIGHT_DATABASE_URL_FILE": str(secret)})
    assert settings.database_url == "postgresql+psycopg://user:s3cret@db/plant"
    assert "s3cret" not in repr(settings)


def test_a_secret_file_that_cannot_be_used_is_named(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path, words in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "Is a directory"),
        (empty, "is empty"),
    ):
        with pytest.raises(ConfigurationError, match=f"MILLWRIGHT_LANGUAGE_MODEL_KEY_FILE=.*{words}"):
            read_settings({"MILLWRIGHT_LANGUAGE_MODEL_KEY_FILE": str(path)})


def test_a_secret_beside_its_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="both set"):
        read_settings({"MILLWRIGHT_DATABASE_URL": "x", "MILLWRIGHT_DATABASE_URL_FILE": str(tmp_path / "url")})


def test_only_secrets_are_read_from_files():
    with pytest.raises(ConfigurationError, match="Unknown setting MILLWRIGHT_PORT_FILE"):
        read_settings({"MILLWRIGHT_PORT_FILE": "/run/port"})
