/*
 * Writes down every file operation of the program that loads it (LD_PRELOAD), in one order, with its data.
 *
 * Each operation below MOX_SHIM_ROOT gives a record before it begins and one after it has ended; records are appended
 * to MOX_SHIM_LOG with one writev each, so the order in the file is an order in which things happened. What is sent to
 * a socket is recorded before it leaves. MOX_SHIM_CONTROL is a file of struct control, mapped here and changed by the
 * test while the program runs. The layout of both is read by trace.rs and control.rs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPEN = 1, CLOSE, DUP, WRITE, SIZE, SYNC, RENAME, LINK, UNLINK, MKDIR, SEND, UNSUPPORTED };
enum phase { BEGIN, END };

struct record {
    uint32_t length; /* of record and data */
    uint16_t kind;
    uint16_t phase;
    uint32_t thread;
    int32_t fd;
    uint64_t call; /* the same at begin and end */
    uint64_t nanos;
    int64_t a;
    int64_t b; /* at the end: the result, or minus errno */
};

enum fault { NO_FAULT, FAULT_SYNC, FAULT_WRITE };

struct control {
    _Atomic uint32_t swallow; /* syncs are answered with success and neither made nor recorded */
    _Atomic uint32_t fault;
    _Atomic int32_t left; /* operations that still succeed */
    _Atomic int32_t error;
    char path[64]; /* part of the path of files that fail; empty: all */
};

#define FDS 65536
#define SEND_MAX 65536

static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_length;
static struct control *control;
static _Atomic(char *) paths[FDS]; /* of descriptors below root */
static _Atomic uint64_t calls;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void give_up(const char *why) {
    (void)!syscall(SYS_write, 2, why, strlen(why));
    (void)!syscall(SYS_write, 2, "\n", 1);
    _exit(99);
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("MOX_SHIM_LOG"), *place = getenv("MOX_SHIM_ROOT"), *shared = getenv("MOX_SHIM_CONTROL");
    if (!log || !place || !shared || strlen(place) >= sizeof root) return;
    int low = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int of_control = (int)syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC, 0);
    if (low < 0 || of_control < 0) give_up("shim: cannot open its files");
    log_fd = (int)syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 200);
    void *map = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, of_control, 0);
    if (log_fd < 0 || map == MAP_FAILED) give_up("shim: cannot set up");
    control = map;
    syscall(SYS_close, low);
    syscall(SYS_close, of_control);
    strcpy(root, place);
    root_length = strlen(place);
}

static void put(enum kind kind, enum phase phase, int fd, uint64_t call, int64_t a, int64_t b, const struct iovec *data,
                int parts, size_t most) {
    if (log_fd < 0 || parts > 1000) {
        if (log_fd >= 0) give_up("shim: too many parts");
        return;
    }
    int kept_errno = errno;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    struct record record = {
        .length = sizeof record, .kind = kind, .phase = phase, .thread = (uint32_t)syscall(SYS_gettid), .fd = fd,
        .call = call, .nanos = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, .a = a, .b = b,
    };
    struct iovec out[1001] = {{&record, sizeof record}};
    int count = 1;
    for (int i = 0; i < parts && most > 0; i++) {
        out[count] = data[i];
        if (out[count].iov_len > most) out[count].iov_len = most;
        most -= out[count].iov_len;
        record.length += out[count].iov_len;
        count++;
    }
    if (syscall(SYS_writev, log_fd, out, count) != (long)record.length) give_up("shim: cannot write its log");
    errno = kept_errno;
}

static uint64_t next_call(void) { return atomic_fetch_add(&calls, 1); }

static const char *path_of(int fd) { return fd >= 0 && fd < FDS ? atomic_load(&paths[fd]) : NULL; }

static void track(int fd, const char *path) {
    if (fd < 0) return;
    if (fd >= FDS) give_up("shim: too many descriptors");
    char *copy = path ? strdup(path) : NULL;
    free(atomic_exchange(&paths[fd], copy));
}

/* The absolute path, if it is below root. */
static const char *below(int dir, const char *path, char *out) {
    if (log_fd < 0 || !path) return NULL;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return NULL;
        strcpy(out, path);
    } else {
        char start[PATH_MAX];
        if (dir == AT_FDCWD) {
            if (!getcwd(start, sizeof start)) return NULL;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t length = readlink(link, start, sizeof start - 1);
            if (length < 0) return NULL;
            start[length] = 0;
        }
        if (snprintf(out, PATH_MAX, "%s/%s", start, path) >= PATH_MAX) return NULL;
    }
    if (strncmp(out, root, root_length) != 0) return NULL;
    return out[root_length] == 0 || out[root_length] == '/' ? out : NULL;
}

static void put_paths(enum kind kind, enum phase phase, int fd, uint64_t call, int64_t a, int64_t b, const char *one,
                      const char *two) {
    struct iovec data[2] = {{(void *)one, strlen(one) + 1}, {(void *)(two ? two : ""), two ? strlen(two) + 1 : 0}};
    put(kind, phase, fd, call, a, b, data, two ? 2 : 1, SIZE_MAX);
}

static int64_t outcome(int64_t result) { return result < 0 ? -(int64_t)errno : result; }

/* Whether this operation is to fail; errno says how. */
static int fails(enum fault fault, const char *path) {
    if (!control || atomic_load(&control->fault) != (uint32_t)fault) return 0;
    if (control->path[0] && !strstr(path, control->path)) return 0;
    if (atomic_fetch_sub(&control->left, 1) > 0) return 0;
    errno = atomic_load(&control->error);
    return 1;
}

/* --- opening and closing --- */

static int open_real(int dir, const char *path, int flags, mode_t mode) {
    REAL(openat);
    char whole[PATH_MAX];
    const char *ours = below(dir, path, whole);
    if (!ours || strlen(ours) <= root_length) {
        int fd = real(dir, path, flags, mode);
        if (ours) track(fd, ours);
        else if (fd >= 0) track(fd, NULL);
        if (ours && fd >= 0) put_paths(OPEN, END, fd, next_call(), flags, fd, ours, NULL);
        return fd;
    }
    if (flags & O_TMPFILE & ~O_DIRECTORY) put(UNSUPPORTED, END, -1, next_call(), 1, 0, NULL, 0, 0);
    int fd = real(dir, path, flags, mode);
    if (fd < 0) return fd;
    track(fd, ours);
    put_paths(OPEN, END, fd, next_call(), flags, fd, ours, NULL);
    return fd;
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags, flags) return open_real(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, flags) return open_real(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags, flags) return open_real(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags, flags) return open_real(dir, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_real(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    REAL(close);
    if (path_of(fd)) {
        put(CLOSE, BEGIN, fd, next_call(), 0, 0, NULL, 0, 0);
        track(fd, NULL);
    }
    return real(fd);
}

static int duplicated(int from, int to) {
    if (to >= 0 && to != from) {
        const char *path = path_of(from);
        if (path_of(to)) put(CLOSE, BEGIN, to, next_call(), 0, 0, NULL, 0, 0);
        track(to, path);
        if (path) put(DUP, END, from, next_call(), 0, to, NULL, 0, 0);
    }
    return to;
}

int dup(int from) { REAL(dup); return duplicated(from, real(from)); }
int dup2(int from, int to) { REAL(dup2); return duplicated(from, real(from, to)); }
int dup3(int from, int to, int flags) { REAL(dup3); return duplicated(from, real(from, to, flags)); }

static int control_fd(int fd, int command, void *argument) {
    int result = (int)syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;
}

#define FCNTL(name) \
    int name(int fd, int command, ...) { \
        va_list rest; \
        va_start(rest, command); \
        void *argument = va_arg(rest, void *); \
        va_end(rest); \
        return control_fd(fd, command, argument); \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* --- writing --- */

static int is_socket(int fd) {
    struct stat about;
    int kept_errno = errno;
    int yes = fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode);
    errno = kept_errno;
    return yes;
}

static void sends(int fd, const struct iovec *data, int parts) {
    put(SEND, BEGIN, fd, next_call(), 0, 0, data, parts, SEND_MAX);
}

/* Where a write without an offset goes. */
static int64_t position(int fd) {
    long flags = syscall(SYS_fcntl, fd, F_GETFL);
    struct stat about;
    if (flags & O_APPEND) return fstat(fd, &about) == 0 ? about.st_size : -1;
    return syscall(SYS_lseek, fd, 0L, SEEK_CUR);
}

#define WRITING(fd, data, parts, offset, make) \
    const char *path = path_of(fd); \
    if (!path) { \
        if (log_fd >= 0 && is_socket(fd)) sends(fd, data, parts); \
        return make; \
    } \
    uint64_t call = next_call(); \
    put(WRITE, BEGIN, fd, call, offset, 0, data, parts, SIZE_MAX); \
    ssize_t result = fails(FAULT_WRITE, path) ? -1 : make; \
    put(WRITE, END, fd, call, 0, outcome(result), NULL, 0, 0); \
    return result

ssize_t write(int fd, const void *octets, size_t count) {
    REAL(write);
    struct iovec data = {(void *)octets, count};
    WRITING(fd, &data, 1, position(fd), real(fd, octets, count));
}

ssize_t writev(int fd, const struct iovec *data, int parts) {
    REAL(writev);
    WRITING(fd, data, parts, position(fd), real(fd, data, parts));
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *octets, size_t count, off_t offset) { \
        REAL(name); \
        struct iovec data = {(void *)octets, count}; \
        WRITING(fd, &data, 1, offset, real(fd, octets, count, offset)); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *data, int parts, off_t offset) { \
        REAL(name); \
        WRITING(fd, data, parts, offset, real(fd, data, parts, offset)); \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define TRUNCATE(name) \
    int name(int fd, off_t length) { \
        REAL(name); \
        if (!path_of(fd)) return real(fd, length); \
        uint64_t call = next_call(); \
        put(SIZE, BEGIN, fd, call, length, 0, NULL, 0, 0); \
        int result = fails(FAULT_WRITE, path_of(fd)) ? -1 : real(fd, length); \
        put(SIZE, END, fd, call, length, outcome(result), NULL, 0, 0); \
        return result; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* --- syncing --- */

#define SYNCING(name) \
    int name(int fd) { \
        REAL(name); \
        const char *path = path_of(fd); \
        if (!path) return real(fd); \
        if (atomic_load(&control->swallow)) return 0; \
        uint64_t call = next_call(); \
        put(SYNC, BEGIN, fd, call, 0, 0, NULL, 0, 0); \
        int result = fails(FAULT_SYNC, path) ? -1 : real(fd); \
        put(SYNC, END, fd, call, 0, outcome(result), NULL, 0, 0); \
        return result; \
    }
SYNCING(fsync)
SYNCING(fdatasync)

/* --- names --- */

#define NAMED(kind, real_call, dir, path) \
    char whole[PATH_MAX]; \
    const char *ours = below(dir, path, whole); \
    int result = real_call; \
    if (ours && result == 0) put_paths(kind, END, -1, next_call(), 0, 0, ours, NULL); \
    return result

int mkdir(const char *path, mode_t mode) { REAL(mkdir); NAMED(MKDIR, real(path, mode), AT_FDCWD, path); }
int mkdirat(int dir, const char *path, mode_t mode) { REAL(mkdirat); NAMED(MKDIR, real(dir, path, mode), dir, path); }
int unlink(const char *path) { REAL(unlink); NAMED(UNLINK, real(path), AT_FDCWD, path); }
int rmdir(const char *path) { REAL(rmdir); NAMED(UNLINK, real(path), AT_FDCWD, path); }
int unlinkat(int dir, const char *path, int flags) { REAL(unlinkat); NAMED(UNLINK, real(dir, path, flags), dir, path); }

static int two_names(enum kind kind, int result, int dir, const char *one, int other, const char *two) {
    char from[PATH_MAX], to[PATH_MAX];
    const char *a = below(dir, one, from), *b = below(other, two, to);
    if (result == 0 && a && b) put_paths(kind, END, -1, next_call(), 0, 0, a, b);
    else if (result == 0 && (a || b)) put(UNSUPPORTED, END, -1, next_call(), 2, 0, NULL, 0, 0);
    return result;
}

int rename(const char *one, const char *two) {
    REAL(rename);
    return two_names(RENAME, real(one, two), AT_FDCWD, one, AT_FDCWD, two);
}
int renameat(int dir, const char *one, int other, const char *two) {
    REAL(renameat);
    return two_names(RENAME, real(dir, one, other, two), dir, one, other, two);
}
int renameat2(int dir, const char *one, int other, const char *two, unsigned flags) {
    REAL(renameat2);
    if (flags & ~1u) put(UNSUPPORTED, END, -1, next_call(), 3, 0, NULL, 0, 0);
    return two_names(RENAME, real(dir, one, other, two, flags), dir, one, other, two);
}
int link(const char *one, const char *two) {
    REAL(link);
    return two_names(LINK, real(one, two), AT_FDCWD, one, AT_FDCWD, two);
}
int linkat(int dir, const char *one, int other, const char *two, int flags) {
    REAL(linkat);
    return two_names(LINK, real(dir, one, other, two, flags), dir, one, other, two);
}

/* --- what is recorded only as not understood --- */

static void unsupported(int fd, int what) {
    if (path_of(fd)) put(UNSUPPORTED, END, fd, next_call(), what, 0, NULL, 0, 0);
}

static void *map(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) unsupported(fd, 10);
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) { return map(at, length, protection, flags, fd, offset); }
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) { return map(at, length, protection, flags, fd, offset); }

int truncate(const char *path, off_t length) {
    REAL(truncate);
    char whole[PATH_MAX];
    if (below(AT_FDCWD, path, whole)) put(UNSUPPORTED, END, -1, next_call(), 11, 0, NULL, 0, 0);
    return real(path, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) { REAL(fallocate); unsupported(fd, 12); return real(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off_t offset, off_t length) { REAL(fallocate64); unsupported(fd, 12); return real(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { REAL(posix_fallocate); unsupported(fd, 12); return real(fd, offset, length); }
int posix_fallocate64(int fd, off_t offset, off_t length) { REAL(posix_fallocate64); unsupported(fd, 12); return real(fd, offset, length); }
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t length, unsigned flags) {
    REAL(copy_file_range);
    unsupported(out, 13);
    return real(in, from, out, to, length, flags);
}
ssize_t pwritev2(int fd, const struct iovec *data, int parts, off_t offset, int flags) {
    REAL(pwritev2);
    unsupported(fd, 15);
    return real(fd, data, parts, offset, flags);
}

/* --- what leaves --- */

ssize_t send(int fd, const void *octets, size_t count, int flags) {
    REAL(send);
    struct iovec data = {(void *)octets, count};
    sends(fd, &data, 1);
    return real(fd, octets, count, flags);
}
ssize_t sendto(int fd, const void *octets, size_t count, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(sendto);
    struct iovec data = {(void *)octets, count};
    sends(fd, &data, 1);
    return real(fd, octets, count, flags, to, length);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    sends(fd, message->msg_iov, (int)message->msg_iovlen);
    return real(fd, message, flags);
}
