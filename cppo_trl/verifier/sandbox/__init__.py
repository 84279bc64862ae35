"""The layers that keep an untrusted program in; standard library only, run in a bare interpreter.

| layer      | what it takes away                                                     | needed |
|------------|------------------------------------------------------------------------|--------|
| seccomp    | every system call that is not on a list: processes, exec, sockets,     | yes    |
|            | signals to others, writing or making files, ptrace, mounts, ...        |        |
| landlock   | reading files but the standard library's (without it: opening any)     | no     |
| user       | root's rights                                                          | root   |
| namespaces | the network, other processes' numbers, System V IPC                    | no     |
| cgroup     | memory beyond the limit, at once (without it: within 0.1 s)            | no     |
| limits     | address space, CPU time, file size, descriptors, core dumps            | yes    |
"""
