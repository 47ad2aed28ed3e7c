-- written by bwtop --ship, read by bwtop --from
CREATE DATABASE IF NOT EXISTS bwtop ON CLUSTER 'fleet';

-- bytes by host, time, process and remote; each level has all bytes: query one level
CREATE TABLE IF NOT EXISTS bwtop.traffic_local ON CLUSTER 'fleet'
(
    level UInt8,
    host_id UUID,
    host String,
    spool Int64,
    span_id UInt64,
    time DateTime('UTC'),
    start Float64,
    flow UInt64,
    process UInt64,
    pid UInt32,
    name String,
    exe String,
    user String,
    uid Int64,
    unit String,
    container String,
    pod String,
    kernel UInt8,
    protocol UInt8,
    role UInt8,
    port UInt16,
    address FixedString(16),
    loopback UInt8,
    rx UInt64,
    tx UInt64,
    version UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/bwtop/traffic', '{replica}', version)
PARTITION BY toYYYYMM(time)
ORDER BY (level, host_id, time, spool, span_id, flow, process);

-- all shards together: write and read this table
CREATE TABLE IF NOT EXISTS bwtop.traffic ON CLUSTER 'fleet' AS bwtop.traffic_local
ENGINE = Distributed('fleet', 'bwtop', 'traffic_local', cityHash64(toString(host_id)));

-- recorded time and losses
CREATE TABLE IF NOT EXISTS bwtop.span_local ON CLUSTER 'fleet'
(
    level UInt8,
    host_id UUID,
    host String,
    spool Int64,
    span_id UInt64,
    time DateTime('UTC'),
    start Float64,
    end Float64,
    seconds Float64,
    spilled UInt64,
    spilled_bytes UInt64,
    unattributed UInt64,
    unattributed_bytes UInt64,
    unnamed UInt64,
    missed_events UInt64,
    version UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/bwtop/span', '{replica}', version)
PARTITION BY toYYYYMM(time)
ORDER BY (level, host_id, time, spool, span_id);

-- all shards together: write and read this table
CREATE TABLE IF NOT EXISTS bwtop.span ON CLUSTER 'fleet' AS bwtop.span_local
ENGINE = Distributed('fleet', 'bwtop', 'span_local', cityHash64(toString(host_id)));

-- five-minute totals by protocol category, for percentiles and peaks
CREATE TABLE IF NOT EXISTS bwtop.fives_local ON CLUSTER 'fleet'
(
    host_id UUID,
    host String,
    spool Int64,
    time DateTime('UTC'),
    seconds Float64,
    tcp_rx UInt64,
    tcp_tx UInt64,
    tcp_loopback_rx UInt64,
    tcp_loopback_tx UInt64,
    udp_rx UInt64,
    udp_tx UInt64,
    udp_loopback_rx UInt64,
    udp_loopback_tx UInt64,
    other_rx UInt64,
    other_tx UInt64,
    other_loopback_rx UInt64,
    other_loopback_tx UInt64,
    version UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/bwtop/fives', '{replica}', version)
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, time, spool);

-- all shards together: write and read this table
CREATE TABLE IF NOT EXISTS bwtop.fives ON CLUSTER 'fleet' AS bwtop.fives_local
ENGINE = Distributed('fleet', 'bwtop', 'fives_local', cityHash64(toString(host_id)));

-- events that affect the totals: the clock was set, the machine slept, bytes were dropped
CREATE TABLE IF NOT EXISTS bwtop.event_local ON CLUSTER 'fleet'
(
    host_id UUID,
    host String,
    spool Int64,
    event_id UInt64,
    time DateTime('UTC'),
    moment Float64,
    kind String,
    amount Float64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/bwtop/event', '{replica}')
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, time, spool, event_id);

-- all shards together: write and read this table
CREATE TABLE IF NOT EXISTS bwtop.event ON CLUSTER 'fleet' AS bwtop.event_local
ENGINE = Distributed('fleet', 'bwtop', 'event_local', cityHash64(toString(host_id)));

