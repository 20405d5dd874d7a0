"""Talks to Superset's REST API as a user's script would: log in, CSRF token, import, data of charts.

superset_api.py URL import ZIP           the database's password, if any, in the variable DATABASE_PASSWORD
superset_api.py URL renew ZIP            imports it as assets: everything that is there already is overwritten
superset_api.py URL charts TITLE         the data of every chart of a dashboard, by its saved query context, as JSON
superset_api.py URL get PATH             any answer as JSON
superset_api.py URL post|put|delete PATH [JSON]
"""

import json
import os
import sys

import requests


def log_in(url):
    session = requests.Session()
    session.trust_env = False
    user = {"username": "admin", "password": "admin", "provider": "db", "refresh": False}
    answer = session.post(f"{url}/api/v1/security/login", json=user, timeout=60)
    answer.raise_for_status()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    answer = session.get(f"{url}/api/v1/security/csrf_token/", timeout=60)
    answer.raise_for_status()
    session.headers["X-CSRFToken"] = answer.json()["result"]
    session.headers["Referer"] = url
    return session


def checked(answer):
    if not answer.ok:
        sys.exit(f"{answer.request.method} {answer.request.path_url}: {answer.status_code} {answer.text}")
    return answer.json()


def import_bundle(session, url, path, to="dashboard", field="formData"):
    form = {"overwrite": "true"}
    if password := os.environ.get("DATABASE_PASSWORD"):
        form["passwords"] = json.dumps({"databases/zktrail.yaml": password})
    with open(path, "rb") as bundle:
        files = {field: ("bundle.zip", bundle, "application/zip")}
        return checked(session.post(f"{url}/api/v1/{to}/import/", data=form, files=files, timeout=120))


def dashboard_id(session, url, title):
    query = f"(filters:!((col:dashboard_title,opr:eq,value:'{title}')),page_size:100)"
    found = checked(session.get(f"{url}/api/v1/dashboard/", params={"q": query}, timeout=60))["result"]
    if len(found) != 1:
        sys.exit(f"{len(found)} dashboards are called {title!r}")
    return found[0]["id"]


def charts(session, url, title):
    number = dashboard_id(session, url, title)
    listed = checked(session.get(f"{url}/api/v1/dashboard/{number}/charts", timeout=60))["result"]
    data = {}
    for chart in listed:
        one = checked(session.get(f"{url}/api/v1/chart/{chart['id']}", timeout=60))["result"]
        context = json.loads(one["query_context"])
        answer = checked(session.post(f"{url}/api/v1/chart/data", json=context, timeout=120))
        result = answer["result"][0]
        data[one["slice_name"]] = {"rows": result["data"], "sql": result["query"], "error": result.get("error")}
    return {"id": number, "charts": data}


def main():
    url, verb, *rest = sys.argv[1:]
    session = log_in(url)
    if verb == "import":
        answer = import_bundle(session, url, rest[0])
    elif verb == "renew":
        answer = import_bundle(session, url, rest[0], "assets", "bundle")
    elif verb == "charts":
        answer = charts(session, url, rest[0])
    else:
        body = json.loads(rest[1]) if len(rest) > 1 else None
        answer = checked(session.request(verb.upper(), f"{url}{rest[0]}", json=body, timeout=120))
    json.dump(answer, sys.stdout)


main()
