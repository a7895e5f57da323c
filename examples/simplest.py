"""The simplest server: it prints who wrote to whom."""

from prixfixe.handlers import Controller


class Printer:
    async def handle_DATA(self, server, session, envelope):
        print(envelope.mail_from, "->", ", ".join(envelope.rcpt_tos), flush=True)
        return "250 Message accepted"


if __name__ == "__main__":
    Controller(Printer(), hostname="127.0.0.1", port=8025).start()
    input("Listening on 127.0.0.1:8025; press Enter to stop.\n")
