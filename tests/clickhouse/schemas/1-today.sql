-- written by bwtop --ship, read by bwtop --from
CREATE DATABASE IF NOT EXISTS bwtop;

-- bytes by host, time, process and remote; each level has all bytes: query one level
CREATE TABLE IF NOT EXISTS bwtop.traffic
(
    level UInt8 COMMENT '0 an interval of about a second, 1 minute, 2 hour, 3 day, 4 month' CODEC(ZSTD),
    host_id UUID COMMENT 'id of the host; stays when its name changes' CODEC(ZSTD),
    host LowCardinality(String) COMMENT 'name of the host at that time' CODEC(ZSTD),
    spool Int64 COMMENT 'id of the SQLite database on the host' CODEC(ZSTD),
    span_id UInt64 COMMENT 'id of the interval, minute, ... in that database' CODEC(ZSTD),
    time DateTime('UTC') COMMENT 'start of the span' CODEC(DoubleDelta, ZSTD),
    start Float64 COMMENT 'start in seconds with fractions' CODEC(Gorilla, ZSTD),
    flow UInt64 COMMENT 'id of program and remote in that database' CODEC(ZSTD),
    process UInt64 COMMENT 'id of the process in that database; 0 in levels above 0' CODEC(ZSTD),
    pid UInt32 COMMENT 'process id; 0 in levels above 0' CODEC(ZSTD),
    name LowCardinality(String) COMMENT 'name of the process' CODEC(ZSTD),
    exe LowCardinality(String) COMMENT 'path of the program; empty if unknown' CODEC(ZSTD),
    user LowCardinality(String) COMMENT 'name of the uid on that host' CODEC(ZSTD),
    uid Int64 COMMENT 'user id; -1 if unknown' CODEC(ZSTD),
    unit LowCardinality(String) COMMENT 'systemd unit' CODEC(ZSTD),
    container LowCardinality(String) COMMENT 'runtime:id' CODEC(ZSTD),
    pod LowCardinality(String) COMMENT 'Kubernetes pod' CODEC(ZSTD),
    kernel UInt8 COMMENT '1: a kernel thread' CODEC(ZSTD),
    protocol UInt8 COMMENT 'IANA protocol number' CODEC(ZSTD),
    role UInt8 COMMENT 'role of the process: 0 client, 1 server' CODEC(ZSTD),
    port UInt16 COMMENT 'port of the service' CODEC(ZSTD),
    address IPv6 COMMENT 'remote address; IPv4 as ::ffff:a.b.c.d, :: if unknown' CODEC(ZSTD),
    loopback UInt8 COMMENT '1: 127.0.0.0/8 or ::1' CODEC(ZSTD),
    rx UInt64 COMMENT 'bytes received' CODEC(T64, ZSTD),
    tx UInt64 COMMENT 'bytes sent' CODEC(T64, ZSTD),
    version UInt64 COMMENT 'a span that is sent again has a higher version' CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (level, host_id, time, spool, span_id, flow, process)
TTL time + INTERVAL 604800 SECOND DELETE WHERE level = 0, time + INTERVAL 2592000 SECOND DELETE WHERE level = 1, time + INTERVAL 63072000 SECOND DELETE WHERE level = 2
SETTINGS fsync_after_insert = 1;

-- recorded time and losses
CREATE TABLE IF NOT EXISTS bwtop.span
(
    level UInt8 COMMENT '0 an interval of about a second, 1 minute, 2 hour, 3 day, 4 month' CODEC(ZSTD),
    host_id UUID COMMENT 'id of the host; stays when its name changes' CODEC(ZSTD),
    host LowCardinality(String) COMMENT 'name of the host at that time' CODEC(ZSTD),
    spool Int64 COMMENT 'id of the SQLite database on the host' CODEC(ZSTD),
    span_id UInt64 COMMENT 'id of the interval, minute, ... in that database' CODEC(ZSTD),
    time DateTime('UTC') COMMENT 'start of the span' CODEC(DoubleDelta, ZSTD),
    start Float64 COMMENT 'start in seconds with fractions' CODEC(Gorilla, ZSTD),
    end Float64 COMMENT 'end in seconds, UTC' CODEC(Gorilla, ZSTD),
    seconds Float64 COMMENT 'recorded seconds' CODEC(ZSTD),
    spilled UInt64 COMMENT 'flows without a remote' CODEC(ZSTD),
    spilled_bytes UInt64 CODEC(ZSTD),
    unattributed UInt64 COMMENT 'updates without a process' CODEC(ZSTD),
    unattributed_bytes UInt64 CODEC(ZSTD),
    unnamed UInt64 COMMENT 'processes without a name' CODEC(ZSTD),
    missed_events UInt64 COMMENT 'events that the kernel skipped' CODEC(ZSTD),
    version UInt64 COMMENT 'a span that is sent again has a higher version' CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (level, host_id, time, spool, span_id)
TTL time + INTERVAL 604800 SECOND DELETE WHERE level = 0, time + INTERVAL 2592000 SECOND DELETE WHERE level = 1, time + INTERVAL 63072000 SECOND DELETE WHERE level = 2
SETTINGS fsync_after_insert = 1;

-- five-minute totals by protocol category, for percentiles and peaks
CREATE TABLE IF NOT EXISTS bwtop.fives
(
    host_id UUID COMMENT 'id of the host; stays when its name changes' CODEC(ZSTD),
    host LowCardinality(String) COMMENT 'name of the host at that time' CODEC(ZSTD),
    spool Int64 COMMENT 'id of the SQLite database on the host' CODEC(ZSTD),
    time DateTime('UTC') COMMENT 'start of the five minutes' CODEC(DoubleDelta, ZSTD),
    seconds Float64 COMMENT 'recorded seconds' CODEC(ZSTD),
    tcp_rx UInt64 CODEC(T64, ZSTD),
    tcp_tx UInt64 CODEC(T64, ZSTD),
    tcp_loopback_rx UInt64 CODEC(T64, ZSTD),
    tcp_loopback_tx UInt64 CODEC(T64, ZSTD),
    udp_rx UInt64 CODEC(T64, ZSTD),
    udp_tx UInt64 CODEC(T64, ZSTD),
    udp_loopback_rx UInt64 CODEC(T64, ZSTD),
    udp_loopback_tx UInt64 CODEC(T64, ZSTD),
    other_rx UInt64 CODEC(T64, ZSTD),
    other_tx UInt64 CODEC(T64, ZSTD),
    other_loopback_rx UInt64 CODEC(T64, ZSTD),
    other_loopback_tx UInt64 CODEC(T64, ZSTD),
    version UInt64 COMMENT 'a span that is sent again has a higher version' CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, time, spool)
TTL time + INTERVAL 63072000 SECOND
SETTINGS fsync_after_insert = 1;

-- events that affect the totals: the clock was set, the machine slept, bytes were dropped
CREATE TABLE IF NOT EXISTS bwtop.event
(
    host_id UUID COMMENT 'id of the host; stays when its name changes' CODEC(ZSTD),
    host LowCardinality(String) COMMENT 'name of the host at that time' CODEC(ZSTD),
    spool Int64 COMMENT 'id of the SQLite database on the host' CODEC(ZSTD),
    event_id UInt64 COMMENT 'id in that database' CODEC(ZSTD),
    time DateTime('UTC') CODEC(ZSTD),
    moment Float64 COMMENT 'time in seconds with fractions' CODEC(ZSTD),
    kind LowCardinality(String) CODEC(ZSTD),
    amount Float64 CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, time, spool, event_id)
SETTINGS fsync_after_insert = 1;

