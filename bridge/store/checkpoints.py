"""SQLite checkpoints: within the commit that makes the journal long, but after a large one.

Others then have a turn between the two, each of which takes as long as the other.
"""

from typing import Any

PAGES = 1000  # of the journal, from which on SQLite empties it by itself: its own default
LONG = PAGES << 12  # bytes of a call that alone makes the journal that long


def put_off(driver: Any) -> bool:
    """Keep the next commit from emptying the journal; False where somebody else does already."""
    ((pages,),) = driver.execute("PRAGMA wal_autocheckpoint").fetchall()
    if pages == 0:
        return False
    driver.execute("PRAGMA wal_autocheckpoint=0").close()
    return True


def make_up_for_it(driver: Any) -> None:
    """Empty the journal now, as far as readers let us, and let SQLite do so by itself again."""
    try:
        driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
    finally:
        driver.execute(f"PRAGMA wal_autocheckpoint={PAGES}").close()
