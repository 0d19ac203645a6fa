//! A seccomp profile of the user's, in docker's JSON format.

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

/// A profile in docker's format (moby/profiles, `seccomp/seccomp.go`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    listener_path: Option<std::path::PathBuf>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    /// The name of the number, which podman's profiles have beside it.
    #[serde(default)]
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// What a rule's conditions are compared with.
struct Facts {
    bounding: u64,
    kernel: (u32, u32),
    /// The architecture in Go's words, as profiles have it.
    arch: &'static str,
}

/// This machine's architecture in Go's words and in libseccomp's.
fn native() -> (&'static str, Option<Arch>) {
    match std::env::consts::ARCH {
        "x86_64" => ("amd64", Some(Arch::ScmpArchX86_64)),
        "aarch64" => ("arm64", Some(Arch::ScmpArchAarch64)),
        "riscv64" => ("riscv64", Some(Arch::ScmpArchRiscv64)),
        "powerpc64" => ("ppc64le", Some(Arch::ScmpArchPpc64le)),
        "s390x" => ("s390x", Some(Arch::ScmpArchS390x)),
        "loongarch64" => ("loong64", Some(Arch::ScmpArchLoongarch64)),
        other => (other, None),
    }
}

/// Converts it as docker does: what the container's capabilities, this machine's architecture and the kernel's version
/// rule out is left away.
pub fn profile(json: &str, bounding: u64, kernel: (u32, u32)) -> Result<LinuxSeccomp> {
    let profile: Profile = serde_json::from_str(json).context("not a seccomp profile")?;
    let (arch, native) = native();
    let facts = Facts { bounding, kernel, arch };
    let architectures = match (profile.architectures.unwrap_or_default(), profile.arch_map.unwrap_or_default()) {
        (list, map) if map.is_empty() => list,
        (list, map) if list.is_empty() => {
            let known = map.into_iter().find(|entry| Some(entry.architecture) == native);
            known.map_or_else(Vec::new, |entry| {
                std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default()).collect()
            })
        }
        _ => bail!("both 'architectures' and 'archMap' are specified in the seccomp profile"),
    };
    let mut syscalls = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        if rule.applies(&facts)? {
            syscalls.push(rule.convert()?);
        }
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures((!architectures.is_empty()).then_some(architectures))
        .set_flags(profile.flags.filter(|flags| !flags.is_empty()))
        .set_listener_path(profile.listener_path)
        .set_syscalls(Some(syscalls));
    Ok(seccomp)
}

impl Rule {
    fn applies(&self, facts: &Facts) -> Result<bool> {
        if let Some(excludes) = &self.excludes {
            if excludes.arch(facts) == Some(true)
                || excludes.caps(facts).any(|has| has)
                || excludes.kernel(facts)? == Some(true)
            {
                return Ok(false);
            }
        }
        let Some(includes) = &self.includes else { return Ok(true) };
        Ok(includes.arch(facts) != Some(false)
            && includes.caps(facts).all(|has| has)
            && includes.kernel(facts)? != Some(false))
    }

    fn convert(self) -> Result<LinuxSyscall> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names.unwrap_or_default()) {
            (None, names) => names,
            (Some(name), names) if names.is_empty() => vec![name],
            _ => bail!("both 'name' and 'names' are specified in the seccomp profile"),
        };
        if let (Some(errno), None) = (&self.errno, self.errno_ret) {
            bail!("errno {errno} has no errnoRet, the number, beside it");
        }
        let mut syscall = LinuxSyscall::default();
        syscall
            .set_names(names)
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.filter(|args| !args.is_empty()));
        Ok(syscall)
    }
}

impl Condition {
    fn arch(&self, facts: &Facts) -> Option<bool> {
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        Some(arches.iter().any(|arch| arch == facts.arch))
    }

    fn caps<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = bool> + 'a {
        self.caps.iter().flatten().map(|name| {
            let number = crate::seccomp::capability::number(name.strip_prefix("CAP_").unwrap_or(name));
            number.is_some_and(|number| facts.bounding >> number & 1 == 1)
        })
    }

    fn kernel(&self, facts: &Facts) -> Result<Option<bool>> {
        let Some(version) = &self.min_kernel else { return Ok(None) };
        let parsed =
            version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let wanted: (u32, u32) = parsed.with_context(|| format!("minKernel {version}: not MAJOR.MINOR"))?;
        Ok(Some(facts.kernel >= wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    const SYS_ADMIN: u64 = 1 << 21;

    fn names(json: &str, bounding: u64, kernel: (u32, u32)) -> Result<Vec<String>> {
        let seccomp = profile(json, bounding, kernel)?;
        Ok(seccomp.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect())
    }

    #[test]
    fn conditions() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"name":"a","action":"SCMP_ACT_ALLOW"},
            {"names":["b"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]},"excludes":{}},
            {"names":["c"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}},
            {"names":["d"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["e"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}},
            {"names":["f"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","arm64","x32"]}},
            {"names":["g"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64","arm64"]}},
            {"names":["h"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_UNKNOWN"]}}
        ]}"#;
        for (bounding, kernel, expected) in [
            (0, (6, 1), "acdf"),
            (SYS_ADMIN, (6, 1), "abdf"),
            (1, (4, 7), "aef"),
            (0, (4, 8), "acdf"),
            (0, (3, 10), "acef"),
        ] {
            assert_eq!(names(json, bounding, kernel).expect("valid").concat(), expected);
        }
    }

    #[test]
    fn everything_is_carried_over() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"flags":["SECCOMP_FILTER_FLAG_LOG"],
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
                       {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
            "syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"errno":"EPERM","comment":"x",
                "args":[{"index":0,"value":38,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#;
        let value = serde_json::to_value(profile(json, 0, (6, 1)).expect("valid")).expect("serializable");
        let architectures = value["architectures"].as_array().expect("a list");
        assert_eq!(architectures.len(), if cfg!(target_arch = "x86_64") { 3 } else { 2 });
        assert_eq!((&value["defaultErrnoRet"], &value["flags"][0]), (&38.into(), &"SECCOMP_FILTER_FLAG_LOG".into()));
        let rule = serde_json::json!({"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":1,
            "args":[{"index":0,"value":38,"valueTwo":0,"op":"SCMP_CMP_EQ"}]});
        assert_eq!(value["syscalls"], serde_json::json!([rule]));
    }

    #[test]
    fn what_is_refused() {
        for (json, message) in [
            ("", "not a seccomp profile: EOF while parsing a value at line 1 column 0"),
            ("{}", "not a seccomp profile: missing field `defaultAction` at line 1 column 2"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#,
                "both 'architectures' and 'archMap' are specified in the seccomp profile",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ERRNO"}]}"#,
                "both 'name' and 'names' are specified in the seccomp profile",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","errno":"EIO","action":"SCMP_ACT_ERRNO"}]}"#,
                "errno EIO has no errnoRet, the number, beside it",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_ERRNO","includes":{"minKernel":"5"}}]}"#,
                "minKernel 5: not MAJOR.MINOR",
            ),
        ] {
            let error = profile(json, 0, (6, 1)).expect_err(json);
            assert_eq!(Failure::from(&error).message, message);
        }
    }
}
