"""Numbers of the system calls that programs may use, for each kind of machine.

`ALWAYS` lists those that are harmless whatever their arguments; the rest are in the rules of
`seccomp.py`. From Linux's asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

ALWAYS = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close
    fstat newfstatat stat lstat statx access faccessat faccessat2 readlink
    readlinkat getcwd chdir fchdir dup dup2 dup3 poll ppoll select pselect6 pipe pipe2
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 recvfrom shutdown
    getsockopt setsockopt ftruncate fallocate fsync fdatasync fadvise64 umask mmap munmap mremap
    mprotect madvise brk msync mincore membarrier rt_sigaction rt_sigprocmask rt_sigreturn
    rt_sigtimedwait rt_sigpending rt_sigsuspend sigaltstack pause alarm setitimer getitimer
    futex set_robust_list rseq set_tid_address exit exit_group restart_syscall sched_yield
    sched_getaffinity sched_get_priority_max sched_get_priority_min sched_getparam
    sched_getscheduler getcpu getpriority gettid getpid getppid getuid geteuid getgid getegid
    getresuid getresgid getpgrp getpgid getsid getgroups capget getrusage times sysinfo uname
    getrlimit wait4 waitid getrandom clock_gettime clock_getres clock_nanosleep nanosleep
    gettimeofday time arch_prctl
""".split()

_X86_64 = """
    read=0 write=1 readv=19 writev=20 pread64=17 pwrite64=18 preadv=295 pwritev=296 preadv2=327
    pwritev2=328 lseek=8 close=3 fstat=5 newfstatat=262 stat=4 lstat=6 statx=332
    access=21 faccessat=269 faccessat2=439 readlink=89 readlinkat=267 getcwd=79 chdir=80
    fchdir=81 dup=32 dup2=33 dup3=292 poll=7 ppoll=271 select=23 pselect6=270 pipe=22 pipe2=293
    epoll_create=213 epoll_create1=291 epoll_ctl=233 epoll_wait=232 epoll_pwait=281 eventfd2=290
    recvfrom=45 shutdown=48 getsockopt=55 setsockopt=54 ftruncate=77 fallocate=285 fsync=74
    fdatasync=75 fadvise64=221 umask=95 mmap=9 munmap=11 mremap=25 mprotect=10 madvise=28 brk=12
    msync=26 mincore=27 membarrier=324 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15
    rt_sigtimedwait=128 rt_sigpending=127 rt_sigsuspend=130 sigaltstack=131 pause=34 alarm=37
    setitimer=38 getitimer=36 futex=202 set_robust_list=273 rseq=334 set_tid_address=218 exit=60
    exit_group=231 restart_syscall=219 sched_yield=24 sched_getaffinity=204
    sched_get_priority_max=146 sched_get_priority_min=147 sched_getparam=143
    sched_getscheduler=145 getcpu=309 getpriority=140 gettid=186 getpid=39 getppid=110
    getuid=102 geteuid=107 getgid=104 getegid=108 getresuid=118 getresgid=120 getpgrp=111
    getpgid=121 getsid=124 getgroups=115 capget=125 getrusage=98 times=100 sysinfo=99 uname=63
    getrlimit=97 wait4=61 waitid=247 getrandom=318 clock_gettime=228 clock_getres=229
    clock_nanosleep=230 nanosleep=35 gettimeofday=96 time=201 arch_prctl=158 open=2 openat=257
    openat2=437 getdents64=217 clone=56 clone3=435 kill=62 tkill=200 tgkill=234 prctl=157
    ioctl=16 fcntl=72 close_range=436 prlimit64=302 socketpair=53 sendto=44
"""

_AARCH64 = """
    read=63 write=64 readv=65 writev=66 pread64=67 pwrite64=68 preadv=69 pwritev=70 preadv2=286
    pwritev2=287 lseek=62 close=57 fstat=80 newfstatat=79 statx=291 faccessat=48
    faccessat2=439 readlinkat=78 getcwd=17 chdir=49 fchdir=50 dup=23 dup3=24 ppoll=73
    pselect6=72 pipe2=59 epoll_create1=20 epoll_ctl=21 epoll_pwait=22 eventfd2=19 recvfrom=207
    shutdown=210 getsockopt=209 setsockopt=208 ftruncate=46 fallocate=47 fsync=82 fdatasync=83
    fadvise64=223 umask=166 mmap=222 munmap=215 mremap=216 mprotect=226 madvise=233 brk=214
    msync=227 mincore=232 membarrier=283 rt_sigaction=134 rt_sigprocmask=135 rt_sigreturn=139
    rt_sigtimedwait=137 rt_sigpending=136 rt_sigsuspend=133 sigaltstack=132 setitimer=103
    getitimer=102 futex=98 set_robust_list=99 rseq=293 set_tid_address=96 exit=93 exit_group=94
    restart_syscall=128 sched_yield=124 sched_getaffinity=123 sched_get_priority_max=125
    sched_get_priority_min=126 sched_getparam=121 sched_getscheduler=120 getcpu=168
    getpriority=141 gettid=178 getpid=172 getppid=173 getuid=174 geteuid=175 getgid=176
    getegid=177 getresuid=148 getresgid=150 getpgid=155 getsid=156 getgroups=158 capget=90
    getrusage=165 times=153 sysinfo=179 uname=160 getrlimit=163 wait4=260 waitid=95
    getrandom=278 clock_gettime=113 clock_getres=114 clock_nanosleep=115 nanosleep=101
    gettimeofday=169 openat=56 openat2=437 getdents64=61 clone=220 clone3=435 kill=129 tkill=130
    tgkill=131 prctl=167 ioctl=29 fcntl=25 close_range=436 prlimit64=261 socketpair=199 sendto=206
"""


def _parse(table: str) -> dict[str, int]:
    pairs = (word.split("=") for word in table.split())
    return {name: int(number) for name, number in pairs}


# Machine, as `os.uname` names it -> (its AUDIT_ARCH of seccomp, name -> number).
MACHINES = {
    "x86_64": (0xC000003E, _parse(_X86_64)),
    "aarch64": (0xC00000B7, _parse(_AARCH64)),
}
