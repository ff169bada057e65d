"""An SMTP server for the tests: DIR PLAIN_PORT TLS_PORT. STARTTLS on the first, TLS from the first byte on the second; `user` signs
in with `pass`. Each letter becomes a line of JSON in DIR/mail. No STARTTLS while DIR/bare is there."""

import base64, json, os, ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

home, plain, tls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(home + "/server.pem", home + "/server.key")


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = dict(
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            tls=server.transport.get_extra_info("ssl_object") is not None,
            user=session.auth_data,
            text=envelope.content.decode(),
        )
        with open(home + "/mail", "a") as file:
            file.write(json.dumps(letter) + "\n")
        return "250 taken"

    async def auth_PLAIN(self, server, args):
        identity, user, password = base64.b64decode(args[1]).split(b"\0")
        known = (user, password) == (b"user", b"pass")
        name = (identity + b"/" if identity else b"") + user
        return AuthResult(success=known, handled=False, auth_data=name.decode())


class Server(Controller):
    def factory(self):
        offered = None if self.ssl_context or os.path.exists(home + "/bare") else context
        return SMTP(self.handler, hostname="sink", tls_context=offered, auth_require_tls=False)


Server(Sink(), hostname="127.0.0.1", port=plain).start()
Server(Sink(), hostname="127.0.0.1", port=tls, ssl_context=context).start()
print("ready", flush=True)
time.sleep(3600)
