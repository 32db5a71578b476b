"""The pages as a server: the app behind its door. `pipelines.cli.pages` starts it."""

import secrets
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from dashboard.door import Door
from dashboard.shared.sessions import SESSIONS
from dashboard.warming import Warming
from pipelines.settings import Settings


def sign_in(settings: Settings) -> dict[str, Any]:
    """Write what Streamlit's sign-in is told, from our settings; the secret of its cookies is made at each start."""
    return {
        "auth": {
            "redirect_uri": f"{settings.public_url}/oauth2callback",
            "cookie_secret": secrets.token_urlsafe(48),
            "client_id": settings.oidc_client,
            "client_secret": settings.oidc_secret,
            "server_metadata_url": f"{settings.oidc_issuer}/.well-known/openid-configuration",
        }
    }


settings = Settings()
SESSIONS.seconds = settings.session_hours * 3600
if settings.warm_minutes > 0:
    Warming(settings).begin()
signs_in = bool(settings.oidc_issuer)
app = st.App(
    Path(__file__).with_name("app.py"),
    middleware=[
        Middleware(
            Door,
            token="" if signs_in else settings.dashboard_token,
            public=settings.public_url if signs_in else "",
            settings=settings,
        )
    ],
    secrets=sign_in(settings) if signs_in else None,
)
