"""What hypothesis draws: traffic and samples of few processes and remotes.

They are not in tests/build.py because processes that tests start use that, and hypothesis takes long to import.
"""

from datetime import UTC
from typing import Final

from hypothesis import strategies as st

from bwtop.model.flows import Identity, Loss, Traffic
from bwtop.model.sample import FlowTraffic, Sample
from tests.build import KEYS, REMOTES

counts: Final = st.integers(0, 2**63)
traffics: Final = st.builds(Traffic, counts, counts)
losses: Final = st.builds(Loss, counts, counts, counts, counts, counts, counts, unheard=st.just(0))
flow_traffics: Final[st.SearchStrategy[FlowTraffic]] = st.dictionaries(
    st.sampled_from(KEYS),
    st.dictionaries(st.sampled_from(REMOTES), traffics, min_size=1),
)
samples: Final = st.builds(
    Sample,
    time=st.datetimes(timezones=st.just(UTC)),
    elapsed=st.floats(0, 3600),
    traffic=flow_traffics,
    identities=st.dictionaries(
        st.sampled_from(KEYS),
        st.builds(Identity, name=st.sampled_from(["curl", "sshd"]), uid=st.integers(0, 2)),
    ),
    exited=st.sets(st.sampled_from(KEYS)),
    loss=losses,
)
