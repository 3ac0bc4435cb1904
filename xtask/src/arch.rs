//! The processor architectures that releases are made for, by their several names.
//!
//! Not for what runs on this machine alone: that is built for the host as cargo does by itself.

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::packages::{self, Package};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86_64
    Amd64,
    /// aarch64
    Arm64,
}

impl Arch {
    pub(crate) fn host() -> Result<Self> {
        let all = [Self::Amd64, Self::Arm64];
        let here = std::env::consts::ARCH;
        all.into_iter()
            .find(|arch| arch.rust() == here)
            .with_context(|| format!("this host is {here}: say --arch amd64 or --arch arm64"))
    }

    pub(crate) fn is_host(self) -> bool {
        self.rust() == std::env::consts::ARCH
    }

    /// As Rust and the kernel name it.
    pub(crate) fn rust(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// As images and Debian name it.
    pub(crate) fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target that rustc builds for.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.rust())
    }

    /// The C compiler, which links too.
    pub(crate) fn linker(self) -> String {
        if self.is_host() { "cc".into() } else { format!("{}-linux-gnu-gcc", self.rust()) }
    }

    /// What compiles C for it and links with a static C library.
    pub(crate) fn packages(self) -> &'static [Package] {
        match self {
            arch if arch.is_host() => &[packages::CC],
            Self::Amd64 => &[packages::CC, packages::GCC_AMD64, packages::LIBC_AMD64],
            Self::Arm64 => &[packages::CC, packages::GCC_ARM64, packages::LIBC_ARM64],
        }
    }
}
