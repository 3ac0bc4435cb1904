//! What a Service port is declared to speak.

use crate::model::AppProtocol;

/// Ports on which the server speaks first, or where nothing is HTTP: waiting for a client there
/// would stall it. Wire protocols by their registered ports (IANA), in the choice that Linkerd's
/// users have found necessary.
const OPAQUE_PORTS: [u16; 22] = [
    21,    // FTP: the server greets
    22,    // SSH: both greet
    25,    // SMTP: the server greets
    110,   // POP3: the server greets
    143,   // IMAP: the server greets
    465,   // SMTP over TLS
    587,   // SMTP submission: the server greets
    993,   // IMAP over TLS
    995,   // POP3 over TLS
    1433,  // SQL Server
    2181,  // ZooKeeper
    3306,  // MySQL: the server greets
    4222,  // NATS: the server greets
    4444,  // Galera
    5432,  // PostgreSQL
    5672,  // AMQP
    6379,  // Redis
    9042,  // Cassandra
    9092,  // Kafka
    9300,  // Elasticsearch between nodes
    11211, // memcached
    27017, // MongoDB
];

/// What a port speaks by its `appProtocol`, else by its name (`http`, `grpc-api`, ...: the part
/// before the first dash counts), else by its number. A word that says nothing to us is passed over.
///
/// Sources: Kubernetes' `appProtocol` values (KEP-3726 and the Service API reference), Istio's and
/// Linkerd's conventions for port names.
pub fn declared(app_protocol: Option<&str>, port_name: Option<&str>, port: u16) -> AppProtocol {
    if let Some(protocol) = app_protocol.and_then(by_word) {
        return protocol;
    }
    let prefix = port_name.and_then(|name| name.split('-').next());
    if let Some(protocol) = prefix.and_then(by_word) {
        return protocol;
    }
    if OPAQUE_PORTS.contains(&port) { AppProtocol::Tcp } else { AppProtocol::Detect }
}

fn by_word(word: &str) -> Option<AppProtocol> {
    let word = word.to_ascii_lowercase();
    Some(match word.as_str() {
        "http" | "http1" | "kubernetes.io/http" => AppProtocol::Http,
        "http2" | "h2c" | "grpc" | "kubernetes.io/h2c" | "kubernetes.io/grpc" => AppProtocol::Http2,
        "ws" | "grpcweb" | "kubernetes.io/ws" => AppProtocol::Http1,
        "https" | "tls" | "wss" | "kubernetes.io/wss" | "kubernetes.io/https" => AppProtocol::Tls,
        "tcp" | "mysql" | "postgres" | "postgresql" | "redis" | "mongo" | "mongodb" | "smtp"
        | "imap" | "pop3" | "ftp" | "ssh" | "amqp" | "kafka" | "nats" | "memcached"
        | "cassandra" | "zookeeper" | "ldap" | "mqtt" => AppProtocol::Tcp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_beats_the_name_and_the_name_beats_the_number() {
        for (app_protocol, name, port, expected) in [
            (Some("kubernetes.io/h2c"), Some("http"), 80, AppProtocol::Http2),
            (Some("HTTP"), Some("tcp"), 6379, AppProtocol::Http),
            (Some("example.com/own"), Some("http-web"), 80, AppProtocol::Http),
            (None, Some("grpc-api"), 80, AppProtocol::Http2),
            (None, Some("https"), 443, AppProtocol::Tls),
            (None, Some("http"), 3306, AppProtocol::Http),
            (None, Some("db"), 3306, AppProtocol::Tcp),
            (None, None, 6379, AppProtocol::Tcp),
            (None, Some("web"), 8080, AppProtocol::Detect),
            (None, None, 80, AppProtocol::Detect),
        ] {
            assert_eq!(
                declared(app_protocol, name, port),
                expected,
                "{app_protocol:?} {name:?} {port}"
            );
        }
    }
}
