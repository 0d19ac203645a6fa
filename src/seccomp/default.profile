# The built-in profile: which system calls a container may make.
#
# In effect it is docker's profile (moby/profiles, June 2026) with two differences:
#
# - No user namespace inside a container, even with CAP_SYS_ADMIN. In a new one a process has all capabilities, and
#   with them it reaches code of the kernel that is meant for root: most kernel exploits of recent years begin so
#   (CVE-2022-0185, CVE-2022-32250, CVE-2023-32233, CVE-2024-1086).
# - Only the native architecture unless more are asked for; docker lets i386 and x32 in, where the 32-bit socketcall
#   hides the address family from a filter.
#
# What is not listed fails with EPERM; what is newer than the tables (syscalls.table), with ENOSYS. The format is
# described in text.rs.

default errno EPERM

allow
    # Files: open, read, write, close.
    open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev pwrite64 pwritev
    pwritev2 lseek _llseek dup dup2 dup3 fcntl fcntl64 flock ioctl pipe pipe2 splice tee vmsplice
    sendfile sendfile64 copy_file_range readahead fadvise64 fadvise64_64 fallocate
    truncate truncate64 ftruncate ftruncate64 sync syncfs fsync fdatasync sync_file_range cachestat

    # Files: what is known of them. open_by_handle_at is not here: it reaches every file of a file system, also outside
    # the container (the "shocker" escape of 2014). A handle alone does no harm.
    stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64
    access faccessat faccessat2 readlink readlinkat getdents getdents64 name_to_handle_at
    utime utimes utimensat utimensat_time64 futimesat
    chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
    listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
    listmount statmount

    # Files: their names. mknod and mknodat make device nodes only where the kernel itself lets them.
    chdir fchdir getcwd mkdir mkdirat rmdir link linkat symlink symlinkat unlink unlinkat rename renameat renameat2
    mknod mknodat

    # Waiting for events.
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
    eventfd eventfd2 signalfd signalfd4 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark

    # Asynchronous input and output of the old kind. io_uring is not here: it has had too many holes, and what it does
    # passes by every filter.
    io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

    # Memory. userfaultfd is not here: it lets a process stop the kernel in the middle of a copy. Neither are the NUMA
    # calls (see SYS_NICE) and what looks into other processes' pages.
    brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 mlockall munlock munlockall mseal
    remap_file_pages memfd_create memfd_secret membarrier map_shadow_stack pkey_alloc pkey_free pkey_mprotect

    # Processes and threads. clone is below.
    fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill
    pidfd_open pidfd_send_signal process_mrelease
    getpid getppid gettid getpgid getpgrp setpgid getsid setsid prctl set_tid_address set_thread_area get_thread_area
    set_robust_list get_robust_list rseq restart_syscall
    futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue

    # Debugging and other processes' memory. Since Linux 4.8 a tracer can not change a call after the filter has seen
    # it; before, ptrace was a way around every filter.
    ptrace process_vm_readv process_vm_writev

    # Signals.
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn pause

    # The program's own tightening.
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self

    # uretprobe is called by the kernel's trampoline in a probed program, not by the program, which dies without it
    # (Linux 6.11).
    uretprobe

    # Users, groups, capabilities, limits.
    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32
    getresuid getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setgroups setgroups32
    setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32
    setfsuid setfsuid32 setfsgid setfsgid32 capget capset
    getrlimit ugetrlimit setrlimit prlimit64 getrusage times

    # Scheduling.
    getpriority setpriority ioprio_get ioprio_set getcpu sched_yield
    sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval sched_rr_get_interval_time64

    # Time. adjtimex and clock_adjtime are for reading: the kernel wants CAP_SYS_TIME for more.
    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 adjtimex clock_adjtime
    clock_adjtime64 nanosleep clock_nanosleep clock_nanosleep_time64 alarm getitimer setitimer
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64

    # Sockets. socket is below. socketcall, by which i386 does all of this, hides its arguments in memory: no condition
    # on it is possible, which is why i386 is not let in unless asked for.
    accept accept4 bind connect listen shutdown socketpair socketcall getsockname getpeername getsockopt setsockopt
    recv recvfrom recvmsg recvmmsg recvmmsg_time64 send sendto sendmsg sendmmsg

    # System V and POSIX IPC, which the IPC namespace contains. ipc is i386's one call for the former.
    ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
    mq_open mq_unlink mq_getsetattr mq_notify mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64

    # The system.
    uname sysinfo getrandom

    # What kinds of instructions the processor has (RISC-V).
    riscv_hwprobe

# The address families up to 63, which is more than Linux has, but for two: AF_ALG (38), the kernel's cryptography, a
# large and hardly used surface; AF_VSOCK (40), which reaches the hypervisor and other machines and knows no network
# namespace. The filter looks at the 32 bits that the kernel looks at (docker compares all 64, and a family of
# 0x100000026 passes for "above 40").
allow
    socket when int arg0 in 0-37 39 41-63

# Old ways of the kernel that some programs ask for: Linux itself, 32-bit uname (PER_LINUX32), both with the release
# reported as 2.6 (UNAME26), and the question for the present value. Others switch protections off: a program could
# turn off its own address randomisation or make what it reads executable.
allow
    personality when arg0 == 0              # PER_LINUX
    personality when arg0 == 0x8            # PER_LINUX32
    personality when arg0 == 0x20000        # UNAME26
    personality when arg0 == 0x20008        # PER_LINUX32 | UNAME26
    personality when arg0 == 0xffffffff     # no change

# New namespaces of any kind are for CAP_SYS_ADMIN, and user namespaces (0x10000000) for nobody. setns enters only
# namespaces that are there.
allow without SYS_ADMIN
    clone when arg0 & 0x7e020000 == 0       # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
allow with SYS_ADMIN
    clone when arg0 & 0x10000000 == 0
    unshare when arg0 & 0x10000000 == 0

# clone3 has its flags in memory, where a filter can not see them. Every libc falls back to clone on ENOSYS.
errno ENOSYS
    clone3

# In the tables already, but newer than what docker's profile was written for (Linux 6.13): as there with runc, a program
# is told that they are not there and does without.
errno ENOSYS
    open_tree_attr file_getattr file_setattr listns rseq_slice_yield

# The following do what the capability says, and the kernel asks for it too. They are denied without it because the
# way to the kernel's own question has had holes.
allow with SYS_ADMIN
    mount umount umount2 move_mount mount_setattr open_tree fsopen fsconfig fsmount fspick
    setns sethostname setdomainname quotactl quotactl_fd fanotify_init lookup_dcookie
    bpf perf_event_open syslog lsm_get_self_attr lsm_set_self_attr lsm_list_modules
allow with BPF
    bpf
allow with PERFMON
    perf_event_open
allow with SYSLOG
    syslog
allow with DAC_READ_SEARCH
    open_by_handle_at
allow with SYS_BOOT
    reboot
allow with SYS_CHROOT
    chroot
allow with SYS_MODULE
    init_module finit_module delete_module
allow with SYS_NICE
    get_mempolicy set_mempolicy mbind set_mempolicy_home_node
allow with SYS_PACCT
    acct
allow with SYS_PTRACE
    kcmp pidfd_getfd process_madvise
allow with SYS_RAWIO
    iopl ioperm
allow with SYS_TIME
    settimeofday stime clock_settime clock_settime64
allow with SYS_TTY_CONFIG
    vhangup

# What only some architectures have or need.
allow on x86_64
    arch_prctl
allow on x86_64 x86
    modify_ldt
allow on aarch64 arm
    arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls
allow on riscv64
    riscv_flush_icache
