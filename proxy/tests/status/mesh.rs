//! What XMesh objects say of us.

use nodeway::status::FEATURES;
use serde_json::{Value, json};

use crate::world::{CONTROLLER, MESHES, MESHES_STATUS, World, eventually};

fn mesh(name: &str, controller: &str) -> Value {
    json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XMesh",
        "metadata": {"name": name, "generation": 1}, "spec": {"controllerName": controller},
        "status": {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending",
            "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "Other", "status": "True", "reason": "Other", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z"}]}})
}

/// The reason of its condition `Accepted`, and the generation that this is about.
fn accepted(world: &World, name: &str) -> (String, i64) {
    let mesh = world.mesh(name);
    let conditions = mesh["status"]["conditions"].as_array().unwrap();
    let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
    let generation = accepted["observedGeneration"].as_i64().unwrap_or_default();
    (accepted["reason"].as_str().unwrap().to_owned(), generation)
}

#[test]
fn a_mesh_that_names_us_says_what_we_can_do_and_anothers_nothing() {
    let mut with_parameters = mesh("with-parameters", CONTROLLER);
    with_parameters["spec"]["parametersRef"] =
        json!({"group": "", "kind": "ConfigMap", "name": "x", "namespace": "shop"});
    let others = mesh("others", "example.com/other");
    let world = World::new(&[mesh("ours", CONTROLLER), with_parameters, others.clone()]);
    let _node = world.node("a");
    eventually("ours", || accepted(&world, "ours") == ("Accepted".to_owned(), 1));
    let refused = ("InvalidParameters".to_owned(), 1);
    eventually("refused", || accepted(&world, "with-parameters") == refused);
    let status = world.mesh("ours")["status"].clone();
    let told = status["supportedFeatures"].as_array().unwrap().iter();
    assert!(told.map(|feature| feature["name"].as_str().unwrap()).eq(FEATURES));
    let conditions = status["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Other"), "{conditions:?}");
    assert_eq!(world.mesh("others")["status"], others["status"]);
    // One that comes later, and a new generation.
    world.server.put(&mesh("late", CONTROLLER));
    eventually("late", || accepted(&world, "late").0 == "Accepted");
    let mut next = world.mesh("ours");
    next["metadata"]["generation"] = json!(2);
    world.server.put(&next);
    eventually("its generation", || accepted(&world, "ours").1 == 2);
    // Nothing more is to be written, whatever else happens to it.
    let writes = || world.server.requests("patch", MESHES_STATUS);
    let before = writes();
    assert_eq!(before, 4);
    let mut noted = world.mesh("ours");
    noted["metadata"]["annotations"] = json!({"seen": "yes"});
    world.server.put(&noted);
    world.renewals(20);
    assert_eq!(writes(), before);
}

#[test]
fn who_undoes_a_meshs_status_is_answered_less_and_less_often() {
    let world = World::new(&[mesh("ours", CONTROLLER)]);
    let _node = world.node("a");
    let mut undone = 0;
    let begun = std::time::Instant::now();
    while undone < 3 {
        eventually("it is told", || accepted(&world, "ours").0 == "Accepted");
        world.server.put(&mesh("ours", CONTROLLER));
        undone += 1;
    }
    // 1 s, then 2 s.
    assert!(begun.elapsed().as_secs() >= 3, "{:?}", begun.elapsed());
    world.server.delete(MESHES, "", "ours");
    world.renewals(5);
    assert!(world.server.requests("patch", MESHES_STATUS) <= 3 + 1);
}
