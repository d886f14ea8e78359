//! Real images and a real kernel, made of Debian's packages. Skipped where there is no mirror.

mod support;

use orrery_images::ImageStore;
use orrery_images::guest_boot::{KernelSource, prepare};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{extract, hindrance};

/// Imports what a script makes and gives its unpacked root; none if the image cannot be made here.
fn import(directory: &Path, script: &str, name: &str) -> Option<orrery_images::Image> {
    if let Some(why) = hindrance() {
        orrery_testing::skipped(why);
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(script);
    let archive = directory.join("image.tar");
    let made = Command::new(script).arg(&archive).env("PYTHONDONTWRITEBYTECODE", "1").output();
    match made {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            orrery_testing::skipped(String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            orrery_testing::skipped(format!("cannot run the script: {error}"));
            return None;
        }
    }
    let store = ImageStore::open(&directory.join("images")).expect("open");
    store.import_archive(&archive, None, &|_| {}).expect("import");
    let image = store.resolve(name).expect("it was imported");
    extract(&image.erofs_path, &directory.join("tree"));
    Some(image)
}

/// Runs a program of an unpacked image, with the image as its root.
fn run_inside(directory: &Path, command: &[&str]) -> String {
    let output = Command::new("chroot").arg(directory.join("tree")).args(command).output().expect("chroot runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_demo_image_can_be_imported_and_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(image) = import(directory.path(), "demo-image", "busybox") else { return };
    assert_eq!(image.config.cmd, ["sh"]);
    assert_eq!(run_inside(directory.path(), &["sh", "-c", "id -un; echo $((6 * 7))"]), "root\n42\n");
}

#[test]
fn the_nginx_image_can_be_imported_and_its_settings_are_right() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(image) = import(directory.path(), "nginx-image", "nginx:latest") else { return };
    assert_eq!((image.config.cmd[0].as_str(), image.config.exposed_ports[0].as_str()), ("nginx", "80/tcp"));
    assert_eq!(image.config.stop_signal.as_deref(), Some("SIGQUIT"));
    // The tree has no /dev here; the guest has one.
    let settings = fs::read_to_string(directory.path().join("tree/etc/nginx/nginx.conf")).expect("read");
    let settings = settings.replace("/dev/stderr", "stderr").replace("access_log /dev/stdout", "access_log off");
    fs::write(directory.path().join("tree/etc/nginx/nginx.conf"), settings).expect("write");
    let verdict = run_inside(directory.path(), &["nginx", "-t"]);
    assert!(verdict.contains("test is successful"), "{verdict}");
}

#[test]
fn the_redis_image_can_be_imported_and_its_data_is_its_users() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(image) = import(directory.path(), "redis-image", "redis:latest") else { return };
    assert_eq!((image.config.cmd[0].as_str(), image.config.exposed_ports[0].as_str()), ("redis-server", "6379/tcp"));
    assert_eq!(image.config.user, "999:999");
    let said = run_inside(directory.path(), &["sh", "-c", "redis-server --version; stat -c %u /data"]);
    assert!(said.starts_with("Redis server v=") && said.ends_with("\n999\n"), "{said}");
}

#[test]
fn the_python_image_can_be_imported_and_has_the_standard_library() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(image) = import(directory.path(), "python-image", "python:latest") else { return };
    assert_eq!(image.config.cmd, ["python3"]);
    let program = "import ctypes, decimal, http.server, lzma, sqlite3, ssl; print(sum(map(int, '42')))";
    assert_eq!(run_inside(directory.path(), &["python", "-c", program]), "6\n");
}

#[test]
fn the_postgres_image_can_be_imported_and_asks_for_a_password() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(image) = import(directory.path(), "postgres-image", "postgres:latest") else { return };
    assert_eq!((image.config.entrypoint[0].as_str(), image.config.user.as_str()), ("start-postgres", "999:999"));
    let refused = run_inside(directory.path(), &["env", "PGDATA=/data", "start-postgres", "postgres"]);
    assert!(refused.starts_with("set POSTGRES_PASSWORD"), "{refused}");
    let versions = "postgres --version; psql --version; initdb --version";
    let versions = run_inside(directory.path(), &["sh", "-c", versions]);
    let named: Vec<&str> = versions.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(named, ["postgres", "psql", "initdb"]);
}

#[test]
fn the_kernel_is_fetched_once_and_the_initial_file_system_follows_the_init() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (cache, init) = (directory.path().join("cache"), directory.path().join("init"));
    fs::write(&init, "first").expect("write");
    let first = match prepare(&cache, &KernelSource::AptCloud, &init) {
        Ok(boot) => boot,
        Err(error) => {
            orrery_testing::skipped(format!("{error}: {:?}", std::error::Error::source(&error)));
            return;
        }
    };
    assert!(fs::metadata(&first.kernel).expect("the kernel is there").len() > 1 << 20);
    assert!(first.kernel_release.ends_with("-cloud-amd64"));
    let made = fs::metadata(&first.initrd).expect("it is there").modified().expect("a time");
    assert_eq!(prepare(&cache, &KernelSource::AptCloud, &init).expect("again"), first);
    assert_eq!(fs::metadata(&first.initrd).expect("it is there").modified().expect("a time"), made);
    fs::write(&init, "second").expect("write");
    let second = prepare(&cache, &KernelSource::AptCloud, &init).expect("anew");
    assert_eq!(second.kernel, first.kernel);
    assert_ne!(second.initrd, first.initrd);
    let missing = prepare(&cache, &KernelSource::AptCloud, &directory.path().join("none"));
    assert!(missing.expect_err("there is no init").to_string().contains("build or install it"));
    assert_initrd(&fs::read(&first.initrd).expect("read"), directory.path());
}

/// Lets busybox read the archive, where there is one.
fn assert_initrd(archive: &[u8], directory: &Path) {
    fs::write(directory.join("initrd"), archive).expect("write");
    let command = format!("cpio -it --quiet < {}", directory.join("initrd").display());
    let listed =
        Command::new("busybox").args(["sh", "-c", &command.replace("cpio -it --quiet", "busybox cpio -t")]).output();
    let Ok(listed) = listed else {
        orrery_testing::skipped("the look into the archive: no busybox here");
        return;
    };
    let list = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<&str> = list.lines().collect();
    for name in ["init", "dev/console", "proc", "sys", "run", "modules/order", "modules/00-virtio_ring.ko"] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    let position = |end: &str| names.iter().position(|name| name.ends_with(end)).expect("the module is there");
    assert!(
        position("-libcrc32c.ko") < position("-erofs.ko") && position("-net_failover.ko") < position("-virtio_net.ko")
    );
}
