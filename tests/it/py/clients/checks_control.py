"""A query that must stop, stops: its error comes, and the server's processors rest."""

import time

from suite import ENDLESS, check, first_line, in_background, kill_when_busy, refused, require, wait_busy, wait_idle


@check("control.cancel")
def cancel(client):
    pid = client.settings.pid
    with client.opened() as connection:
        wait = in_background(lambda: client.query(connection, ENDLESS))
        wait_busy(pid)
        client.cancel(connection)
        rested = wait_idle(pid)
        error = wait()
        require(error is not None, "the endless query ended by itself")
        state = client.sqlstate(error)
        require(state == "57014", f"SQLSTATE {state} instead of 57014: {first_line(error)}")
        # The connection is as good as before.
        if client.survives_cancel:
            client.expect(client.query(connection, "SELECT 1")[1][0][0], 1)
    return f"rests after {rested:.1f} s"


@check("control.statement_timeout")
def statement_timeout(client):
    with client.opened() as connection:
        client.command(connection, "SET statement_timeout = '500ms'")
        started = time.monotonic()
        refused(client, "57014", lambda: client.query(connection, ENDLESS))
        took = time.monotonic() - started
        rested = wait_idle(client.settings.pid)
        client.command(connection, "SET statement_timeout = 0")
        client.expect(client.query(connection, "SELECT 1")[1][0][0], 1)
    return f"error after {took:.1f} s, rests {rested:.1f} s later"


@check("control.disconnect")
def disconnect(client):
    kill_when_busy(client)
    rested = wait_idle(client.settings.pid)
    return f"rests after {rested:.1f} s"


@check("control.set_stays_inside")
def set_stays_inside(client):
    with client.opened() as one, client.opened() as other:
        client.command(one, "SET TimeZone = 'Asia/Tokyo'")
        client.command(other, "SET TimeZone = 'America/New_York'")
        client.expect(client.query(one, "SHOW TimeZone")[1][0][0], "Asia/Tokyo", "of one")
        client.expect(client.query(other, "SHOW TimeZone")[1][0][0], "America/New_York", "of the other")


@check("control.set_and_reset")
def set_and_reset(client):
    with client.opened() as connection:
        value = lambda: client.query(connection, "SHOW application_name")[1][0][0]  # noqa: E731
        client.command(connection, "SET application_name TO 'the suite'")
        client.expect(value(), "the suite", "after SET")
        client.expect(client.query(connection, "SELECT current_setting('application_name')")[1][0][0], "the suite")
        client.command(connection, "RESET application_name")
        require(value() != "the suite", "RESET changes nothing")
        client.command(connection, "SET search_path TO public")
        client.command(connection, "SET client_min_messages = warning")
        client.command(connection, "DISCARD ALL")


@check("control.unknown_setting")
def unknown_setting(client):
    """What means nothing here is refused by name, instead of being taken and ignored."""
    with client.opened() as connection:
        refused(client, "42704", lambda: client.command(connection, "SET no_such_setting = 1"))
