//! Whoever speaks gRPC is told in gRPC what goes wrong on the way.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nodeway_tests::Plain;

/// A unary call with an empty message: status, `grpc-status`, `grpc-message`, and whether they stood in
/// the head with nothing behind it.
fn call(to: SocketAddr, path: &str, content_type: &str) -> (u16, String, String, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        // Not compressed, no octets.
        let message = Full::new(Bytes::from_static(&[0; 5]));
        let request = Request::post(format!("http://{to}{path}"))
            .header("content-type", content_type)
            .header("te", "trailers")
            .body(message)
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let field = |name: &str| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        let (status, code, message) =
            (response.status().as_u16(), field("grpc-status"), field("grpc-message"));
        let trailers_only = hyper::body::Body::is_end_stream(response.body());
        let rest = response.into_body().collect().await.unwrap();
        assert!(rest.trailers().is_none());
        (status, code, message, trailers_only)
    })
}

#[test]
fn what_goes_wrong_on_the_way_is_told_in_grpc() {
    let mut plain = Plain::new();
    let (backend, dead) = (Plain::backend(), Plain::backend());
    let _server = plain.testserver(backend, "v1");
    plain.manifests.service(&Plain::service("web", "kubernetes.io/h2c").to(backend));
    plain.manifests.service(&Plain::service("empty", "kubernetes.io/h2c"));
    plain.manifests.service(&Plain::service("dead", "kubernetes.io/h2c").to(dead));
    plain.manifests.put(
        "route.yaml",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n\
         metadata: {name: web, namespace: default}\n\
         spec:\n  parentRefs: [{group: \"\", kind: Service, name: web, port: 80}]\n  rules:\n  \
         - matches: [{method: {service: shop.Missing}}]\n    backendRefs: [{name: nobody, port: 80}]\n  \
         - matches: [{method: {service: shop.Zero}}]\n    backendRefs: [{name: web, port: 80, weight: 0}]\n  \
         - matches: [{method: {service: shop.Empty}}]\n    backendRefs: [{name: empty, port: 80}]\n  \
         - matches: [{method: {service: shop.Dead}}]\n    backendRefs: [{name: dead, port: 80}]\n  \
         - matches: [{method: {service: shop.Limited}}]\n    backendRefs: [{name: web, port: 80}]\n    \
           filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}]\n",
    );
    let web = plain.listen("web");
    plain.start();
    for (path, code, message) in [
        ("/shop.Other/Get", "12", "no route matches"),
        ("/shop.Missing/Get", "14", "the route's backend is invalid"),
        ("/shop.Zero/Get", "14", "the route's backend is invalid"),
        ("/shop.Limited/Get", "14", "the route's backend is invalid"),
        ("/shop.Empty/Get", "14", "no endpoint is ready"),
        ("/shop.Dead/Get", "14", "no endpoint could be reached"),
    ] {
        for kind in ["application/grpc", "application/grpc+proto"] {
            let told = call(web, path, kind);
            assert_eq!(told, (200, code.to_owned(), message.to_owned(), true), "{path} {kind}");
        }
    }
    assert_eq!(call(web, "/shop.Other/Get", "application/json").0, 404, "who is not gRPC");
}
