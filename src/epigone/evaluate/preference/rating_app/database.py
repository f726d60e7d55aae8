"""A campaign's database: where it is, transactions, and bringing an older one to the present form."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from epigone.errors import DataError, DiskError, MissingDependency
from epigone.evaluate.preference.rating_app import migrations

__all__ = ["Database", "one_at_a_time", "storable"]

FIRST_FORM = "0001"
"""The migration that made databases from before migrations were kept track of."""

_MIGRATIONS, _HAND_OUTS = 4207849, 4207850  # any two numbers, for PostgreSQL's advisory locks
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_URL = "write postgresql://user:password@host/database"
_SQLITE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")


class Database:
    """SQLite in a file, or PostgreSQL at a URL. Every transaction is whole or not at all.

    SQLite has one writer: the threads of this process queue for it here, where waiting costs no polling.
    """

    def __init__(self, where: Path | str) -> None:
        text = str(where)
        self.engine = _postgres(text) if "://" in text else _sqlite(Path(text))
        self.name = self.engine.url.render_as_string(hide_password=True) if "://" in text else text
        self._lasting = self.engine.execution_options(sync="FULL")
        self._passing = self.engine.execution_options(sync="NORMAL")
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.is_file else nullcontext()

    @property
    def is_file(self) -> bool:
        """Whether it is SQLite's."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that changes nothing.

        Raises:
            DiskError: the database refuses.
        """
        with self._told(), Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on an error.

        A ``lasting`` one is on the disk when it ends, and all before it. What a power cut may undo without harm (a
        pair handed out, not yet voted on) need not wait for the disk; the end of the process undoes neither.

        Raises:
            DiskError: the database refuses (a full disk, a lost server); nothing of the transaction is kept.
        """
        kind = self._lasting if lasting else self._passing
        with self._turn, self._told(), Session(kind) as session, session.begin():
            yield session

    def holds_campaign(self) -> bool:
        """Whether there are a campaign's tables, of whatever form."""
        with self._told():
            return inspect(self.engine).has_table("setting")

    def bring_up_to_date(self) -> None:
        """Run the migrations that it lacks: all of them on an empty database.

        Raises:
            DiskError: the database refuses; it stays as it was.
        """
        with self._turn, self._told(), self._lasting.begin() as connection:
            if not self.is_file:
                connection.execute(_LOCK, {"lock": _MIGRATIONS})
            _migrate(connection)

    def forget(self) -> None:
        """Leave nothing of deleted rows in SQLite's files; PostgreSQL's own vacuum does it there."""
        if self.is_file:
            with self._turn, self._told(), self.engine.connect() as connection:
                connection.rollback()
                driver = connection.connection.driver_connection
                if driver is not None:
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            lines = str(getattr(error, "orig", None) or error).splitlines()
            raise DiskError(f"the rating database refuses: {lines[0] if lines else error}", where=self.name) from error


def one_at_a_time(session: Session) -> None:
    """Wait until no other transaction changes what pairs are taken: SQLite's has one writer anyway, PostgreSQL's
    would wait for each other in a circle."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_LOCK, {"lock": _HAND_OUTS})


def storable(text: str) -> str:
    """``text`` without what a database cannot hold, NUL and lone surrogates: each becomes U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    tables = inspect(connection)
    if tables.has_table("setting") and not tables.has_table("alembic_version"):
        command.stamp(config, FIRST_FORM)
    command.upgrade(config, "head")


def _postgres(text: str) -> Engine:
    try:
        url = make_url(text)
        if url.get_backend_name() != "postgresql":
            raise DataError("is neither a file nor a PostgreSQL URL", where=url.drivername, fix=_URL)
        url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True)
    except (ArgumentError, ValueError):
        raise DataError("cannot be read", where="the database URL", fix=_URL) from None
    except ImportError as error:
        fix = "pip install 'epigone[postgres]', or give a file"
        raise MissingDependency("PostgreSQL needs psycopg", fix=fix) from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("sync") == "NORMAL":
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, pool_size=8, max_overflow=40)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so
        for pragma in _SQLITE:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer from its start: one that has only read so far could not become one while another writes.
        sync = connection.get_execution_options().get("sync")
        if sync is not None:
            connection.exec_driver_sql(f"PRAGMA synchronous={sync}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if sync else "BEGIN")

    return engine
