//! An app that asks whom it is connected to hears the address that it dialled.

use nodeway_tests::Mesh;
use nodeway_tests::mesh::{VIP4, VIP6};

#[test]
fn getpeername_is_the_address_that_was_dialled() {
    let Some((mesh, _server)) = Mesh::with_web() else { return };
    let code = "import socket, sys\n\
                family, ip = sys.argv[1:]\n\
                s = socket.socket(getattr(socket, family)); s.settimeout(10)\n\
                s.connect((ip, 80))\n\
                s.sendall(b'GET / HTTP/1.0\\r\\nHost: web\\r\\n\\r\\n'); s.recv(12)\n\
                print(*s.getpeername()[:2])\n";
    let mapped = format!("::ffff:{VIP4}");
    for (family, ip) in [("AF_INET", VIP4), ("AF_INET6", VIP6), ("AF_INET6", &mapped)] {
        let ran = mesh.client.place.python(code, &[family, ip]);
        assert!(ran.ok, "{}", ran.err);
        assert_eq!(ran.out.trim(), format!("{ip} 80"), "{family} {ip}");
    }
}
