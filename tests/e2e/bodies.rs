//! Bodies of any size pass unchanged, and the proxy holds only what is on its way.

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, binaries, pattern};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

#[test]
fn a_gibibyte_up_and_down_arrives_whole_in_flat_memory() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let expected = pattern::checksum(GIB);
    let tool = binaries::testserver();
    let tool = tool.display();
    let idle = mesh.node().rss();
    mesh.node().reset_peak_rss();
    for (way, command) in [
        ("down", format!("curl -sS http://{VIP4}/bytes/{GIB} | {tool} checksum")),
        ("up", format!("{tool} generate {GIB} | curl -sS -T - http://{VIP4}/sink")),
    ] {
        let said = mesh.client.place.ok("sh", &["-c", &command]);
        assert_eq!(said.trim(), expected, "{way}");
        let grown = mesh.node().peak_rss().saturating_sub(idle);
        assert!(grown < 64 * MIB, "{way}: memory grew by {} MiB", grown / MIB);
    }
}
