//! That endpoints are left out and come back, in the log: each backend a few lines at once and then one a
//! second, whatever goes wrong, and whoever has found out.
//!
//! Not who decides it: that is `nodeway_core::balance`'s to say.

use nodeway_core::balance::{Change, HealthEvent, Millis};
use nodeway_core::snapshot::Backend;

/// Says what has changed, and what the last answer was that led to it, if that is known.
#[cold]
pub fn tell_changes(backend: &Backend, now: Millis, events: &[HealthEvent], why: Option<&str>) {
    let (service, port) = (&backend.service, backend.port);
    for HealthEvent { endpoint, change } in events {
        let Some(untold) = backend.telling().health.turn(now) else { continue };
        if matches!(change, Change::Ejected(_) | Change::Ill { .. }) {
            tracing::warn!(%service, port, %endpoint, untold, why, "{change}");
        } else {
            tracing::info!(%service, port, %endpoint, untold, why, "{change}");
        }
    }
    tell_panic(backend, now);
}

/// Says that all endpoints are used, whatever their health, or no longer.
pub fn tell_panic(backend: &Backend, now: Millis) {
    let (service, port) = (&backend.service, backend.port);
    let (of, usable) = (backend.endpoints().len(), || backend.usable(now));
    match backend.panic_turned(now) {
        Some(true) => tracing::warn!(%service, port, usable = usable(), of,
            "too few endpoints are well: all are used, whatever their health (panic)"),
        Some(false) => tracing::info!(%service, port, usable = usable(), of,
            "enough endpoints are well: no others are used any more"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::num::NonZeroU32;
    use std::sync::{Arc, Mutex};

    use nodeway_core::balance::{Endpoint, EndpointId, Lasting};
    use nodeway_core::model::{AppProtocol, BackendSettings, HealthCheck, ObjectName, Probe};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn backend(endpoints: u8) -> Backend {
        let endpoint = |id: u8| {
            let address = ([10, 0, 0, id], 80).into();
            Arc::new(Endpoint::new(EndpointId(u64::from(id)), address, None))
        };
        let one = NonZeroU32::MIN;
        let check = HealthCheck { healthy: one, unhealthy: one, ..HealthCheck::of(Probe::Tcp) };
        let settings = BackendSettings { health_check: Some(check), ..BackendSettings::default() };
        let (name, endpoints) = (ObjectName::new("shop", "web"), (1..=endpoints).map(endpoint));
        Backend::new(Lasting::new(1), (name, 80), AppProtocol::Http, None, endpoints)
            .with_settings(settings.into())
    }

    /// All endpoints have this check, one after the other; what is told of it.
    fn told(backend: &Backend, now: Millis, healthy: bool) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            for endpoint in backend.endpoints() {
                let event = backend.checked(endpoint, now, healthy);
                tell_changes(backend, now, event.as_slice(), Some("refused"));
            }
        });
        let octets = log.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn many_that_are_ill_at_once_are_a_few_lines_and_that_all_are_used_is_one_more() {
        let backend = backend(100);
        let ill = told(&backend, Millis(50_000), false);
        assert_eq!(ill.matches("left out").count(), 5, "{ill}");
        assert!(ill.contains("refused"), "{ill}");
        // Found out by the first line whose roster is new, at the latest by the next check.
        let ill = ill + &told(&backend, Millis(52_000), false);
        assert_eq!(ill.matches("(panic)").count(), 1, "{ill}");
        let well = told(&backend, Millis(90_000), true) + &told(&backend, Millis(92_000), true);
        assert_eq!(well.matches("used again").count(), 5, "{well}");
        assert_eq!(well.matches("no others are used").count(), 1, "{well}");
    }
}
