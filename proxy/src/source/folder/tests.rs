//! What becomes of a folder's files.

use nodeway_core::model::Kind;
use proptest::prelude::*;

use super::*;

fn files(files: &[(&str, &str)]) -> Vec<FileText> {
    files
        .iter()
        .map(|(path, text)| FileText { path: path.into(), text: Ok((*text).to_owned()) })
        .collect()
}

fn service(name: &str, port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  clusterIP: 10.96.0.1\n  ports:\n  - {{port: {port}}}\n"
    )
}

fn keys(changes: &[Change]) -> Vec<String> {
    let mut keys: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Apply(object) => format!("+{}", object.key().1),
            Change::Delete(_, name) => format!("-{name}"),
            Change::Refuse(route) => format!("!{}", route.name),
        })
        .collect();
    keys.sort();
    keys
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn edits_are_changes_and_no_edit_is_none() {
    let mut folder = Folder::default();
    let (a, b) = (service("a", "80"), service("b", "80"));
    let (changes, problems) = folder.update(files(&[("a.yaml", &a), ("b.yaml", &b)]));
    assert_eq!((keys(&changes), problems.len()), (vec!["+shop/a".into(), "+shop/b".into()], 0));
    let again = format!("# a comment\n{a}");
    let (changes, _) = folder.update(files(&[("a.yaml", &again), ("b.yaml", &b)]));
    assert!(changes.is_empty());
    let (changes, _) = folder.update(files(&[("a.yaml", &service("a", "81"))]));
    assert_eq!(keys(&changes), ["+shop/a", "-shop/b"]);
}

#[test]
fn the_last_good_version_stays_when_an_object_goes_bad() {
    let mut folder = Folder::default();
    let text = |port: &str| format!("{}---\n{}", service("a", port), service("b", "80"));
    folder.update(files(&[("all.yaml", &text("80"))]));
    let (changes, problems) = folder.update(files(&[("all.yaml", &text("0"))]));
    assert!(changes.is_empty());
    assert_eq!(
        told(&problems),
        [
            "all.yaml: document 1 (line 1): Service shop/a: spec.ports[0].port: 0: must be from 1 to 65535"
        ]
    );
    let (changes, problems) = folder.update(files(&[("all.yaml", &text("eighty"))]));
    assert!(changes.is_empty());
    assert!(told(&problems)[0].contains("spec.ports[0].port: invalid type"), "{problems:?}");
    let (changes, problems) = folder.update(files(&[("all.yaml", &text("82"))]));
    assert_eq!((keys(&changes), problems.len()), (vec!["+shop/a".into()], 0));
}

#[test]
fn a_document_that_cannot_be_read_keeps_its_files_objects_and_no_others() {
    let mut folder = Folder::default();
    let (a, b, c) = (service("a", "80"), service("b", "80"), service("c", "80"));
    folder.update(files(&[("1.yaml", &format!("{a}---\n{b}")), ("2.yaml", &c)]));
    let broken = format!("kind: [\n---\n{}", service("b", "81"));
    let (changes, problems) = folder.update(files(&[("1.yaml", &broken)]));
    assert_eq!(keys(&changes), ["+shop/b", "-shop/c"], "a may be the broken one");
    assert!(told(&problems)[0].starts_with("1.yaml: document 1 (line 1): "), "{problems:?}");
}

#[test]
fn of_two_documents_with_one_name_the_first_counts() {
    let mut folder = Folder::default();
    let texts = [("1.yaml", service("a", "80")), ("2.yaml", service("a", "81"))];
    let all: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    for _ in 0..2 {
        let (_, problems) = folder.update(files(&all));
        assert_eq!(
            told(&problems),
            ["2.yaml: document 1 (line 1): Service shop/a: is in 1.yaml already; that one counts"]
        );
    }
}

#[test]
fn what_is_not_ours_is_left_alone_and_what_is_unclear_is_told() {
    let mut folder = Folder::default();
    let (changes, problems) = folder.update(files(&[
        ("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"),
        ("b.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n"),
        ("c.yaml", "kind: Service\nmetadata: {name: x}\n"),
        ("d.yaml", "just: text\n"),
        ("e.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {nodeway.dev/mesh: \"yes\"}}\n"),
    ]));
    assert!(changes.is_empty());
    assert_eq!(
        told(&problems),
        [
            "c.yaml: document 1 (line 1): apiVersion: missing in a Service",
            "d.yaml: document 1 (line 1): kind: missing: not a Kubernetes object",
            "e.yaml: document 1 (line 1): Namespace n: metadata.labels[nodeway.dev/mesh]: \"yes\": must be \"enabled\" or \"disabled\"",
        ]
    );
}

#[test]
fn routes_tell_the_field_and_bad_endpoints_cost_only_themselves() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n\
        spec:\n  parentRefs: [{group: '', kind: Service, name: a}]\n  rules:\n  - matches:\n    \
        - path: {type: RegularExpression, value: '(('}\n    - path: {value: api}\n    \
        filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a b', value: x}]}}]\n";
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
        metadata: {name: s, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n\
        ports: [{port: 80}]\nendpoints:\n- addresses: [10.0.0.1]\n- addresses: ['fd00::1']\n";
    let mut folder = Folder::default();
    let (changes, problems) = folder.update(files(&[("r.yaml", route), ("s.yaml", slice)]));
    let fields: Vec<_> = told(&problems);
    for (told, field) in fields.iter().zip([
        "spec.rules[0].matches[0].path.value",
        "spec.rules[0].matches[1].path.value: \"api\": must begin with \"/\"",
        "spec.rules[0].filters[0].requestHeaderModifier.set[0].name",
        "endpoints[1].addresses[0]: \"fd00::1\": not an IPv4 address",
    ]) {
        assert!(told.contains(field), "{told} lacks {field}");
    }
    assert_eq!(fields.len(), 4, "{fields:?}");
    let [Change::Apply(Object::EndpointSlice(slice))] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(slice.endpoints.len(), 1);
}

#[test]
fn an_edit_of_what_does_not_matter_is_no_change() {
    let route = |more: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
        metadata: {{name: r{more}}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: a}}]\n  rules:\n  \
        - matches: [{{path: {{type: RegularExpression, value: /x.*}}}}]\n"
        )
    };
    let mut folder = Folder::default();
    folder.update(files(&[("r.yaml", &route(""))]));
    let (changes, _) = folder.update(files(&[("r.yaml", &route(", annotations: {a: b}"))]));
    assert!(changes.is_empty(), "{changes:?}");
    let (changes, _) = folder.update(files(&[("r.yaml", &route("").replace("/x", "/y"))]));
    assert_eq!(keys(&changes), ["+default/r"]);
}

#[test]
fn a_bad_copy_does_not_freeze_a_good_one() {
    let mut folder = Folder::default();
    folder.update(files(&[("2.yaml", &service("a", "80"))]));
    let (changes, problems) =
        folder.update(files(&[("1.yaml", &service("a", "0")), ("2.yaml", &service("a", "81"))]));
    assert_eq!((keys(&changes), problems.len()), (vec!["+shop/a".into()], 1), "{problems:?}");
    // It goes on so when the good one has not changed, and ends when the good one goes.
    let (changes, problems) =
        folder.update(files(&[("1.yaml", &service("a", "0")), ("2.yaml", &service("a", "81"))]));
    assert_eq!((changes.len(), problems.len()), (0, 1), "{problems:?}");
}

#[test]
fn a_file_or_folder_that_cannot_be_read_keeps_its_objects() {
    let unreadable = |path: &str| FileText {
        path: path.into(),
        text: Err(std::io::ErrorKind::PermissionDenied.into()),
    };
    let mut folder = Folder::default();
    let (a, b, c) = (service("a", "80"), service("b", "80"), service("c", "80"));
    folder.update(files(&[("1.yaml", &a), ("sub/b.yaml", &b), ("subtle.yaml", &c)]));
    let (changes, problems) = folder.update(vec![unreadable("1.yaml"), unreadable("sub")]);
    assert_eq!(keys(&changes), ["-shop/c"]);
    assert_eq!(told(&problems), ["1.yaml: permission denied", "sub: permission denied"]);
}

#[test]
fn a_list_and_a_json_file_are_read_and_faults_name_the_item() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": "x"}}]}"#;
    let mut folder = Folder::default();
    let (changes, problems) = folder.update(files(&[("all.json", list)]));
    assert_eq!(keys(&changes), ["+n"]);
    assert_eq!(
        told(&problems),
        [
            "all.json: document 1 (line 1): Service default/s: items[1].spec.clusterIPs[0]: \"x\": not an IP address"
        ]
    );
    let file = folder.file_of(Kind::Namespace, &ObjectName::new("", "n"));
    assert_eq!(file, Some(Path::new("all.json")));
}

proptest! {
    #[test]
    fn no_document_disturbs_its_neighbours(
        bad in prop_oneof!["[ -~\n]{0,120}", "(kind|apiVersion|metadata|spec): [a-z{}:\\[\\], ]{0,30}\n"],
        place in 0..3_usize,
    ) {
        prop_assume!(bad.lines().all(|line| !line.starts_with("---") && !line.starts_with("...")));
        let good = [service("a", "80"), service("b", "80")];
        let edited = [service("a", "81"), service("b", "82")];
        let text = |good: &[String; 2]| {
            let mut documents = vec![good[0].clone(), good[1].clone()];
            documents.insert(place, format!("{bad}\n"));
            documents.join("---\n")
        };
        let mut folder = Folder::default();
        let (changes, _) = folder.update(files(&[("x.yaml", &text(&good))]));
        prop_assert_eq!(keys(&changes), ["+shop/a", "+shop/b"]);
        let (changes, _) = folder.update(files(&[("x.yaml", &text(&edited))]));
        prop_assert_eq!(keys(&changes), ["+shop/a", "+shop/b"]);
    }
}
