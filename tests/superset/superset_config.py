"""Superset as the tests run it: metadata in a folder of its own, nothing asked of the network, defaults elsewhere.

CSRF protection stays on, as it is by default: whoever uses the API has to do it properly.
"""

import os

_home = os.environ["SUPERSET_HOME"]
SECRET_KEY = "only-for-tests-0123456789abcdef0123456789abcdef"
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_home}/superset.db"
WTF_CSRF_ENABLED = True
TALISMAN_ENABLED = False
# Plain HTTP on loopback.
SESSION_COOKIE_SECURE = False
RATELIMIT_ENABLED = False
# Every answer comes from the source, not from a cache of an earlier one.
CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
FILTER_STATE_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
