"""The server: Streamlit's pages, and our routes beside them, in one process on one port."""

import sys

import streamlit as st

from cmlcore.settings import settings
from cmlcore.web import lifespan, middleware, require_loopback, routes

# A busy page script holds the interpreter for 5 ms at a time by default; tiles must not wait for that.
sys.setswitchinterval(0.0005)

app = st.App("cmlcore/ui/main.py", routes=routes(), middleware=middleware(), lifespan=lifespan)

if __name__ == "__main__":
    require_loopback(settings().host)
    app.run(config={"server.address": settings().host, "server.port": settings().port})
else:
    require_loopback(st.get_option("server.address"))
