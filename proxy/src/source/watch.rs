//! Reads a folder again whenever something in it has moved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::files::{Inode, inode};
use super::{Event, Folder, Source, read_folder};

/// An editor or `kubectl` writes several times for one edit: read when it has been quiet so long.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that is never quiet is read so often all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a folder is read where the kernel cannot watch it.
const WITHOUT_WATCH: Duration = Duration::from_secs(5);
/// How often is looked whether the path still leads to the folder that is watched: a deleted folder
/// made anew, or a link (git-sync's) set to another, says nothing of it. One `stat`.
const SAME_FOLDER: Duration = Duration::from_secs(2);

/// A watch on the folder that the path led to when it was made.
struct Watch {
    on: Option<Inode>,
    /// Gone if the kernel cannot watch the folder.
    watcher: Option<RecommendedWatcher>,
    moves: mpsc::Receiver<()>,
}

/// A folder of manifests. At each change all files are read: renames, links and atomic replacements need
/// no special thought. Only a link inside the folder to a file outside of it hides that file's edits.
#[derive(Debug, Clone)]
pub struct FolderSource {
    /// Its path.
    pub folder: PathBuf,
}

impl Source for FolderSource {
    async fn run(self, events: mpsc::Sender<Event>) -> anyhow::Result<()> {
        watch(self.folder, events).await;
        Ok(())
    }
}

async fn watch(folder: PathBuf, events: mpsc::Sender<Event>) {
    let mut state = Folder::default();
    let mut unreadable = false;
    // Watched before it is read: what changes in between is not missed.
    let mut watch = Watch::start(&folder);
    loop {
        // A big folder takes long to parse: not on the thread that answers operators.
        let path = folder.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let read = read_folder(&path).map(|files| state.update(files));
            (state, read)
        });
        let Ok((next, read)) = reading.await else { return };
        state = next;
        match read {
            Ok((changes, problems)) => {
                unreadable = false;
                if events.send(Event { changes, problems: Some(problems) }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // What was read last stays in force.
                if !std::mem::replace(&mut unreadable, true) {
                    tracing::error!(folder = %folder.display(), %error, "cannot read the folder");
                }
            }
        }
        tokio::select! {
            () = watch.wait(&folder) => {}
            () = events.closed() => return,
        }
        if watch.on != inode(&folder).ok() {
            watch = Watch::start(&folder);
        }
    }
}

// === impl Watch ===

impl Watch {
    fn start(folder: &Path) -> Self {
        let (moved, moves) = mpsc::channel(1);
        let on = inode(folder).ok();
        let watcher = watcher(folder, moved);
        if let (Err(error), Some(_)) = (&watcher, on) {
            tracing::warn!(folder = %folder.display(), %error,
                "cannot watch the folder; reading it every 5 s instead");
        }
        Self { on, watcher: watcher.ok(), moves }
    }

    /// Returns when it is time to read again.
    async fn wait(&mut self, folder: &Path) {
        if self.watcher.is_none() && self.on.is_some() {
            sleep(WITHOUT_WATCH).await;
            return;
        }
        loop {
            match timeout(SAME_FOLDER, self.moves.recv()).await {
                Ok(Some(())) => {
                    let settle = async { while timeout(QUIET, self.moves.recv()).await.is_ok() {} };
                    let _ = timeout(PATIENCE, settle).await;
                    return;
                }
                // There is no watcher to hear from.
                Ok(None) => sleep(SAME_FOLDER).await,
                Err(_) => {}
            }
            if self.on != inode(folder).ok() {
                return;
            }
        }
    }
}

fn watcher(folder: &Path, moved: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let read_only = event.as_ref().is_ok_and(|e| matches!(e.kind, EventKind::Access(_)));
        if !read_only {
            // Full: a reading is due already.
            let _ = moved.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

    /// A folder, watched; made and unmade as one.
    struct World {
        folder: tempfile::TempDir,
        events: mpsc::Receiver<Event>,
        watching: JoinHandle<()>,
    }

    impl World {
        fn new(prepare: impl FnOnce(&Path), watched: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let (sender, events) = mpsc::channel(1);
            let watching = tokio::spawn(watch(folder.path().join(watched), sender));
            Self { folder, events, watching }
        }

        /// Waits for an event of so many changes and problems; there may be others before.
        async fn expect(&mut self, changes: usize, problems: usize) {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                let event = tokio::time::timeout_at(deadline, self.events.recv());
                let Some(Event { changes: c, problems: Some(p) }) = event.await.expect("in time")
                else {
                    panic!("the watch ended");
                };
                if (c.len(), p.len()) == (changes, problems) {
                    return;
                }
            }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        async fn end(self) {
            drop(self.events);
            self.watching.await.unwrap();
        }
    }

    fn named(name: &str) -> String {
        NAMESPACE.replace("name: a", &format!("name: {name}"))
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_again() {
        let put = |folder: &Path| fs::write(folder.join("a.yaml"), NAMESPACE).unwrap();
        let mut world = World::new(put, "");
        world.expect(1, 0).await;
        let hidden = world.at(".a.yaml.tmp");
        fs::write(&hidden, named("b")).unwrap();
        fs::rename(hidden, world.at("a.yaml")).unwrap();
        world.expect(2, 0).await;
        fs::write(world.at("b.yaml"), "kind: [").unwrap();
        world.expect(0, 1).await;
        fs::create_dir(world.at("new")).unwrap();
        fs::write(world.at("new/c.yaml"), named("c")).unwrap();
        world.expect(1, 1).await;
        world.end().await;
    }

    #[tokio::test]
    async fn a_configmap_that_is_swapped_is_read_again() {
        let mount = |folder: &Path| {
            for (version, name) in [("..1", "a"), ("..2", "b")] {
                fs::create_dir(folder.join(version)).unwrap();
                fs::write(folder.join(version).join("x.yaml"), named(name)).unwrap();
            }
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/x.yaml", folder.join("x.yaml")).unwrap();
        };
        let mut world = World::new(mount, "");
        world.expect(1, 0).await;
        symlink("..2", world.at("..data_tmp")).unwrap();
        fs::rename(world.at("..data_tmp"), world.at("..data")).unwrap();
        world.expect(2, 0).await;
        world.end().await;
    }

    #[tokio::test]
    async fn a_folder_that_goes_and_comes_back_is_watched_again() {
        let two = |folder: &Path| {
            for name in ["a", "b"] {
                fs::create_dir(folder.join(name)).unwrap();
                fs::write(folder.join(name).join("x.yaml"), named(name)).unwrap();
            }
            symlink("a", folder.join("current")).unwrap();
        };
        let mut world = World::new(two, "current");
        world.expect(1, 0).await;
        // A link set to another folder.
        symlink("b", world.at("next")).unwrap();
        fs::rename(world.at("next"), world.at("current")).unwrap();
        world.expect(2, 0).await;
        // A folder away: what was read last stays in force.
        fs::rename(world.at("b"), world.at("elsewhere")).unwrap();
        fs::create_dir(world.at("b")).unwrap();
        fs::write(world.at("b/x.yaml"), named("c")).unwrap();
        world.expect(2, 0).await;
        // And the new one is the one that is watched.
        fs::write(world.at("b/y.yaml"), named("d")).unwrap();
        world.expect(1, 0).await;
        world.end().await;
    }
}
