"""The ids of the tests that broken images must fail, and the tests that every mutant runs."""

from __future__ import annotations

__all__ = [
    "CONFIG",
    "CONTENT",
    "CORE",
    "HEALTH",
    "LIFE",
    "LIMITS",
    "RUNNING",
    "RUNS",
    "SETTINGS",
    "STILL",
    "TALK",
    "TLS",
    "UNCHANGED",
    "WAYS",
]

CONTENT, CONFIG, RUNS = (f"test_image_{name}.py::" for name in ("content", "config", "runs"))
RUNNING, HEALTH, LIMITS = (f"test_{name}.py::" for name in ("running", "health", "limits"))
SETTINGS, TALK, LIFE = (f"test_{name}.py::" for name in ("settings", "conversations", "life"))
TLS, WAYS = "test_tls.py::", "test_ways.py::"

# What is asked of every mutant besides its own check; its own check apart, all of it stays green.
STILL = ("test_image_content.py", "test_image_config.py")
CORE = (
    f"{RUNNING}test_delivers_a_mail_under_the_whole_hardened_profile",
    f"{RUNNING}test_pid_1_is_the_server_and_no_shell",
    f"{HEALTH}test_the_verdicts_are_true[idle]",
    f"{LIMITS}test_a_message_up_to_the_limit_is_kept",
)

UNCHANGED = f"{CONTENT}test_scanners_find_every_debian_package_and_its_files_unchanged"
