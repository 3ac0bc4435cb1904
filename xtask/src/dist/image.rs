//! The image: built by deploy/image/Dockerfile into an archive in OCI layout, with no daemon, and nothing pulled.
//!
//! Not for several architectures in one: a registry's index does that (`docker buildx`, see the Dockerfile).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{VERSION, copy, make_folder, remove, tar};
use crate::arch::Arch;
use crate::packages;
use crate::shell::{self, Step};

/// Its own storage, gone afterwards: images that the user has are not touched. `vfs` works everywhere.
/// The layout is made by root and handed to whom the folder belongs.
const BUILD: &str = r#"
set -e
context=$1 file=$2 platform=$3 date=$4 version=$5 name=$6 layout=$7
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
run() { buildah --storage-driver vfs --root "$scratch/root" --runroot "$scratch/run" "$@"; }
run build --quiet --pull-never --network none --platform "$platform" --timestamp "$date" \
    --build-arg "VERSION=$version" --file "$file" --tag "$name" "$context" >/dev/null
run push --quiet "$name" "oci:$layout:$name"
chown -R --reference="$context" "$layout"
"#;

/// Fully named and nobody's registry: what is not loaded into the node under this name is not looked for elsewhere.
pub(super) fn name() -> String {
    format!("localhost/nodeway:{VERSION}")
}

/// Makes the archive; gives back its path.
pub(super) fn make(dist: &Path, binary: &Path, arch: Arch, date: &str) -> Result<PathBuf> {
    let step = Step::start(format!("Making the image {} for {}", name(), arch.oci()));
    // Stays, for `docker buildx`.
    let context = dist.join("image");
    make_folder(&context.join(arch.oci()))?;
    copy(binary, &context.join(arch.oci()))?;
    copy(&shell::workspace().join("LICENSE"), &context)?;
    // What BackendTLSPolicies call the system's.
    copy(Path::new(packages::CA_BUNDLE), &context)?;
    let layout = dist.join("image-layout");
    remove(&layout)?;
    let mut build = shell::as_root("sh", &[])?;
    build
        .args(["-c", BUILD, "build"])
        .arg(&context)
        .arg(shell::workspace().join("deploy/image/Dockerfile"))
        .arg(format!("linux/{}", arch.oci()))
        .args([date, VERSION, &name()])
        .arg(&layout);
    shell::run(&mut build).context("buildah could not build the image")?;
    let index = layout.join("index.json");
    let read = std::fs::read_to_string(&index);
    let text = read.with_context(|| format!("cannot read {}", index.display()))?;
    let Some(named) = for_containerd(&text) else {
        bail!("{} does not name {}: {text}", index.display(), name());
    };
    std::fs::write(&index, named).with_context(|| format!("cannot write {}", index.display()))?;
    let archive = dist.join(format!("nodeway-{VERSION}-{}.oci.tar", arch.oci()));
    let mut pack = tar(&layout, date, &archive);
    shell::run(pack.args(["blobs", "index.json", "oci-layout"]))?;
    remove(&layout)?;
    step.done();
    Ok(archive)
}

/// containerd knows a whole name by an annotation of its own; what OCI calls a reference it takes for a tag.
fn for_containerd(index: &str) -> Option<String> {
    let name = name();
    let known = format!(r#""org.opencontainers.image.ref.name":"{name}""#);
    let both = format!(r#"{known},"io.containerd.image.name":"{name}""#);
    (index.matches(&known).count() == 1).then(|| index.replacen(&known, &both, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_its_name_for_containerd_too() {
        let index = format!(
            r#"{{"manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"{}"}}}}]}}"#,
            name()
        );
        let named = for_containerd(&index).unwrap();
        assert!(named.contains(&format!(r#""io.containerd.image.name":"{}"}}"#, name())));
        assert_eq!(for_containerd(r#"{"manifests":[]}"#), None);
    }
}
