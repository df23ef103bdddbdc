-- Callbacks are looked back on by endpoint and time where a door promises that: its endpoints' ids begin with epl_.
CREATE INDEX deliveries_listed ON deliveries (endpoint_id, number) WHERE endpoint_id >= 'epl_' AND endpoint_id < 'epl`';
CREATE INDEX attempts_by_delivery ON attempts (delivery);
