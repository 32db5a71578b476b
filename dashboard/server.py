"""The pages as a server: the app behind its door. `pipelines.cli.pages` starts it."""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.door import Door
from pipelines.settings import Settings

app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(Door, token=Settings().dashboard_token)])
