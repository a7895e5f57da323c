"""smtpdfix's controller as a server: `python smtpdfix_server.py PORT`."""

import sys
import time

from smtpdfix import AuthController, Config

config = Config()
config.host, config.port = "127.0.0.1", int(sys.argv[1])
controller = AuthController(config=config, hostname="127.0.0.1", port=config.port)
controller.start()
while True:
    time.sleep(3600)
