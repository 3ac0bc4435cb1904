//! Reads a folder again whenever something in it has moved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Event, Folder, read_folder};

/// An editor or `kubectl` writes several times for one edit: read when it has been quiet so long.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that is never quiet is read so often all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a folder is read where the kernel cannot watch it.
const WITHOUT_WATCH: Duration = Duration::from_secs(5);

/// Sends the state of `folder` to `events`, and every change of it, until nobody listens. Each time all
/// files are read: renames, links and atomic replacements need no special thought.
pub async fn watch(folder: PathBuf, events: mpsc::Sender<Event>) {
    let (moved, mut moves) = mpsc::channel(1);
    // Watched before it is read: what changes in between is not missed.
    let watcher = start(&folder, moved);
    if let Err(error) = &watcher {
        tracing::warn!(folder = %folder.display(), %error,
            "cannot watch the folder; reading it every 5 s instead");
    }
    let mut state = Folder::default();
    let mut unreadable = false;
    loop {
        match read_folder(&folder) {
            Ok(files) => {
                unreadable = false;
                let (changes, problems) = state.update(files);
                if events.send(Event::State { changes, problems }).await.is_err() {
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
        let wait = async {
            if watcher.is_err() || unreadable {
                tokio::time::sleep(WITHOUT_WATCH).await;
            } else if moves.recv().await.is_some() {
                let settle =
                    async { while tokio::time::timeout(QUIET, moves.recv()).await.is_ok() {} };
                let _ = tokio::time::timeout(PATIENCE, settle).await;
            }
        };
        tokio::select! {
            () = wait => {}
            () = events.closed() => return,
        }
    }
}

fn start(folder: &Path, moved: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
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
    use super::*;

    async fn next(events: &mut mpsc::Receiver<Event>) -> (usize, usize) {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv());
        let Some(Event::State { changes, problems }) = event.await.expect("an event in time")
        else {
            panic!("the watch ended");
        };
        (changes.len(), problems.len())
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
        std::fs::write(folder.path().join("a.yaml"), namespace).unwrap();
        let (sender, mut events) = mpsc::channel(1);
        let watching = tokio::spawn(watch(folder.path().to_owned(), sender));
        assert_eq!(next(&mut events).await, (1, 0));
        let hidden = folder.path().join(".a.yaml.tmp");
        std::fs::write(&hidden, namespace.replace("name: a", "name: b")).unwrap();
        std::fs::rename(hidden, folder.path().join("a.yaml")).unwrap();
        // One deleted, one applied; a reading between the two writes has no change.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while next(&mut events).await != (2, 0) {
            assert!(tokio::time::Instant::now() < deadline);
        }
        drop(events);
        watching.await.unwrap();
    }
}
