"""Who may enter, and over what."""

from suite import NotApplicable, Wrong, check, first_line, refused, require


@check("connect.password")
def password(client):
    client.expect(client.value("SELECT 1"), 1)


@check("connect.tls")
def tls(client):
    with client.opened(ca=client.settings.ca) as connection:
        client.expect(client.query(connection, "SELECT 1")[1][0][0], 1)


@check("connect.tls_refused")
def tls_refused(client):
    try:
        with client.opened(ca=client.settings.other_ca):
            pass
    except (Wrong, NotApplicable):
        raise
    except Exception as error:
        text = str(error).lower() + repr(error).lower()
        require("certif" in text or "ssl" in text or "tls" in text, f"refused, but not for its certificate: {first_line(error)}")
        return
    raise Wrong("connected, although nobody it trusts signed the certificate")


@check("connect.wrong_password")
def wrong_password(client):
    def run():
        with client.opened(password="not the password"):
            pass

    refused(client, "28P01", run)


@check("connect.unknown_user")
def unknown_user(client):
    def run():
        with client.opened(user="nobody_knows", password="whatever"):
            pass

    refused(client, "28P01", run)


@check("connect.too_many")
def too_many(client):
    held = []
    try:
        error = None
        for _ in range(client.settings.connections_max + 1):
            try:
                held.append(client.connect())
            except Exception as refusal:
                error = refusal
                break
        require(error is not None, f"{len(held)} connections at once, and none refused")
        state = client.sqlstate(error)
        require(state == "53300", f"SQLSTATE {state} instead of 53300: {first_line(error)}")
        # The others go on, and a place that is free again can be had.
        client.expect(client.query(held[0], "SELECT 1")[1][0][0], 1)
    finally:
        for connection in held:
            client.close(connection)
    for attempt in range(100):
        try:
            client.expect(client.value("SELECT 1"), 1)
            return
        except Exception as refusal:
            if attempt == 99 or client.sqlstate(refusal) != "53300":
                raise


@check("connect.version")
def version(client):
    text = client.value("SELECT version()")
    require(text.startswith("PostgreSQL "), f"version() is {text!r}")
    number = client.value("SELECT CAST(current_setting('server_version_num') AS int)")
    require(int(number) >= 90500, f"server_version_num is {number}")
    require(client.value("SHOW server_version")[0].isdigit(), "SHOW server_version")


@check("connect.identity")
def identity(client):
    rows = client.rows("SELECT current_user, session_user, current_database(), current_schema()")
    settings = client.settings
    client.expect_rows(rows, [(settings.user, settings.user, settings.database, "public")])
