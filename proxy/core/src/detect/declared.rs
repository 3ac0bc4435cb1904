//! What a Service port is declared to speak: by `appProtocol`, else by its name, else by its number.
//!
//! Only what makes the proxy behave differently is told apart: a database and a mail server are both
//! [`AppProtocol::Tcp`]. A wrong guess of HTTP costs a parse error, a wrong wait for the client's
//! first byte a hang: so ports where the server speaks first are named here.

use AppProtocol::{Detect, Http, Http1, Http2, Tcp, Tls};

use crate::model::AppProtocol;

/// Values of `appProtocol`, in lower case: Kubernetes' own (KEP-3726) and IANA service names, as the
/// field's documentation asks for.
const APP_PROTOCOLS: &[(&str, AppProtocol)] = &[
    ("http", Http),
    ("http2", Http2),
    ("h2c", Http2),
    ("kubernetes.io/h2c", Http2),
    ("grpc", Http2),
    ("grpc-web", Http),
    // An upgrade is HTTP/1.1's: over HTTP/2 few servers take it.
    ("kubernetes.io/ws", Http1),
    ("ws", Http1),
    // Encrypted by the client: relayed as it is.
    ("kubernetes.io/wss", Tls),
    ("wss", Tls),
    ("https", Tls),
    ("tls", Tls),
    ("tcp", Tcp),
];

/// First words of port names (`NAME` or `NAME-suffix`), in lower case, and also values of
/// `appProtocol`: the convention of Istio and others, and the common opaque protocols.
const NAMES: &[(&str, AppProtocol)] = &[
    ("http", Http),
    ("http2", Http2),
    ("h2c", Http2),
    ("grpc", Http2),
    ("ws", Http1),
    ("https", Tls),
    ("tls", Tls),
    ("wss", Tls),
    ("tcp", Tcp),
    ("amqp", Tcp),
    ("cassandra", Tcp),
    ("cql", Tcp),
    ("ftp", Tcp),
    ("imap", Tcp),
    ("imaps", Tls),
    ("kafka", Tcp),
    ("ldap", Tcp),
    ("ldaps", Tls),
    ("memcache", Tcp),
    ("memcached", Tcp),
    ("mongo", Tcp),
    ("mongodb", Tcp),
    ("mqtt", Tcp),
    ("mysql", Tcp),
    ("nats", Tcp),
    ("pop3", Tcp),
    ("postgres", Tcp),
    ("postgresql", Tcp),
    ("redis", Tcp),
    ("smtp", Tcp),
    ("ssh", Tcp),
    ("zookeeper", Tcp),
];

/// Well-known ports of protocols that are not HTTP. Those where the server speaks first would stall
/// detection; linkerd's default opaque ports (25, 587, 3306, 4444, 5432, 6379, 9300, 11211) are all
/// among them.
const PORTS: &[(u16, AppProtocol, &str)] = &[
    (21, Tcp, "FTP: the server speaks first"),
    (22, Tcp, "SSH: both sides speak first"),
    (25, Tcp, "SMTP: the server speaks first"),
    (110, Tcp, "POP3: the server speaks first"),
    (143, Tcp, "IMAP: the server speaks first"),
    (389, Tcp, "LDAP: binary"),
    (443, Tls, "HTTPS"),
    (465, Tls, "SMTP over TLS"),
    (587, Tcp, "SMTP submission: the server speaks first"),
    (636, Tls, "LDAP over TLS"),
    (853, Tls, "DNS over TLS"),
    (873, Tcp, "rsync: the server speaks first"),
    (993, Tls, "IMAP over TLS"),
    (995, Tls, "POP3 over TLS"),
    (1433, Tcp, "SQL Server: TLS starts within its own protocol"),
    (1521, Tcp, "Oracle: binary"),
    (1883, Tcp, "MQTT: binary"),
    (2181, Tcp, "ZooKeeper: binary"),
    (3306, Tcp, "MySQL: the server speaks first"),
    (4222, Tcp, "NATS: the server speaks first"),
    (4444, Tcp, "Galera: binary"),
    (5432, Tcp, "PostgreSQL: TLS starts within its own protocol"),
    (5672, Tcp, "AMQP: its own preface"),
    (5900, Tcp, "VNC: the server speaks first"),
    (6379, Tcp, "Redis: text that can look like HTTP"),
    (9042, Tcp, "Cassandra: binary"),
    (9092, Tcp, "Kafka: binary"),
    (9300, Tcp, "Elasticsearch transport: binary"),
    (11211, Tcp, "memcached: text that can look like HTTP"),
    (27017, Tcp, "MongoDB: binary"),
];

/// What a port is declared to speak; [`AppProtocol::Detect`] if nothing says.
///
/// `app_protocol` decides if it is known. A domain-prefixed value that is not says nothing (it may be
/// another implementation's); any other value names a protocol, which is then not HTTP.
pub fn declared(app_protocol: Option<&str>, port_name: Option<&str>, port: u16) -> AppProtocol {
    app_protocol
        .and_then(by_app_protocol)
        .or_else(|| port_name.and_then(by_name))
        .or_else(|| PORTS.iter().find(|(p, ..)| *p == port).map(|(_, protocol, _)| *protocol))
        .unwrap_or(Detect)
}

fn by_app_protocol(value: &str) -> Option<AppProtocol> {
    if value.is_empty() {
        return None;
    }
    let known = |table: &[(&str, AppProtocol)]| {
        table.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, p)| *p)
    };
    known(APP_PROTOCOLS).or_else(|| known(NAMES)).or_else(|| (!value.contains('/')).then_some(Tcp))
}

fn by_name(port_name: &str) -> Option<AppProtocol> {
    let word = port_name.split('-').next()?;
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, p)| *p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_protocol_decides_first() {
        assert_eq!(declared(Some("http"), Some("mysql"), 3306), Http);
        assert_eq!(declared(Some("HTTP"), None, 80), Http);
        assert_eq!(declared(Some("kubernetes.io/h2c"), None, 80), Http2);
        assert_eq!(declared(Some("kubernetes.io/ws"), None, 80), Http1);
        assert_eq!(declared(Some("kubernetes.io/wss"), None, 80), Tls);
        assert_eq!(declared(Some("https"), Some("http"), 80), Tls);
        assert_eq!(declared(Some("grpc"), None, 80), Http2);
        assert_eq!(declared(Some("mysql"), Some("http"), 80), Tcp);
    }

    #[test]
    fn an_unknown_app_protocol_is_not_http_unless_it_is_someone_elses() {
        assert_eq!(declared(Some("xmpp-client"), Some("http"), 80), Tcp);
        assert_eq!(declared(Some("example.com/custom"), Some("http-web"), 80), Http);
        assert_eq!(declared(Some("example.com/custom"), None, 80), Detect);
        assert_eq!(declared(Some(""), Some("grpc"), 80), Http2);
    }

    #[test]
    fn the_name_decides_second() {
        assert_eq!(declared(None, Some("http"), 6379), Http);
        assert_eq!(declared(None, Some("http-metrics"), 80), Http);
        assert_eq!(declared(None, Some("http2-api"), 80), Http2);
        assert_eq!(declared(None, Some("tls-x"), 80), Tls);
        assert_eq!(declared(None, Some("httpx"), 80), Detect);
        assert_eq!(declared(None, Some("web"), 80), Detect);
    }

    #[test]
    fn the_number_decides_last() {
        assert_eq!(declared(None, Some("db"), 3306), Tcp);
        assert_eq!(declared(None, None, 443), Tls);
        assert_eq!(declared(None, None, 8080), Detect);
        for port in [25, 587, 3306, 4444, 5432, 6379, 9300, 11211] {
            assert_eq!(declared(None, None, port), Tcp, "linkerd's opaque port {port}");
        }
    }

    #[test]
    fn the_tables_have_each_key_once() {
        let mut ports: Vec<_> = PORTS.iter().map(|(port, ..)| port).collect();
        assert!(ports.is_sorted());
        ports.dedup();
        assert_eq!(ports.len(), PORTS.len());
        for table in [APP_PROTOCOLS, NAMES] {
            let mut names: Vec<_> = table.iter().map(|(name, _)| name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), table.len());
        }
    }
}
