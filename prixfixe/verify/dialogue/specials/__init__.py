"""Cases that are more than a dialogue: each a function from a target, named in a case's `run:`.

A function returns when the target passes and raises AssertionError when it does not.
"""

from prixfixe.verify.dialogue.specials import auth, bounds, dialogues, flow, timing, tls

__all__ = ["FUNCTIONS"]

FUNCTIONS = {
    name: function
    for module in (auth, bounds, dialogues, flow, timing, tls)
    for name, function in vars(module).items()
    if name in module.__all__
}
