/* A disk that fails on demand, for one file: loaded before libc (LD_PRELOAD), it stands between a process and the
 * system calls that write, read, cut or sync a ledger's files.
 *
 * VIGIE_FAULT_PLAN names a file of one line, which may appear or change at any time (by a rename, so that it is
 * never half there):
 *
 *     CALL FILE FROM TIMES HOW VALUE
 *
 *     CALL   write, read, sync or truncate
 *     FILE   main, wal, shm or any: which of the ledger's files
 *     FROM   the first call that is meant, counted from 1 since the plan is there
 *     TIMES  how many calls are meant; 0: all from there on
 *     HOW    fail    the call does nothing and returns the error number VALUE
 *            short   a write takes half of what it was given, and says so
 *            full    the first takes half, the others fail with the error number VALUE: a disk that has run full
 *            slow    the call is made after VALUE milliseconds
 *
 * Each call that was meddled with adds a line "CALL FILE" to the file VIGIE_FAULT_LOG, which proves that the fault
 * happened. Linux and glibc. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    ino_t inode;
    char call[16], file[16], how[16];
    long from, times, value, seen;
} plan;

/* Which of the ledger's files this is; NULL: none of them. */
static const char *ledger_file(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = 0;
    char *name = strstr(path, "/ledger.sqlite");
    if (!name)
        return NULL;
    name += strlen("/ledger.sqlite");
    if (!*name)
        return "main";
    if (!strcmp(name, "-wal"))
        return "wal";
    return strcmp(name, "-shm") ? NULL : "shm";
}

/* Reads the plan if it is another one than before; whether there is one. */
static int read_plan(void) {
    const char *path = getenv("VIGIE_FAULT_PLAN");
    struct stat now;
    if (!path || stat(path, &now))
        return 0;
    if (now.st_ino == plan.inode)
        return 1;
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int fields = fscanf(file, "%15s %15s %ld %ld %15s %ld", plan.call, plan.file, &plan.from, &plan.times, plan.how,
                        &plan.value);
    fclose(file);
    plan.seen = 0;
    plan.inode = now.st_ino;
    return fields == 6;
}

static void note(const char *call, const char *file) {
    const char *path = getenv("VIGIE_FAULT_LOG");
    char line[64];
    int length = snprintf(line, sizeof line, "%s %s\n", call, file);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    syscall(SYS_write, fd, line, (size_t)length);
    close(fd);
}

enum fault { NONE, FAIL, HALF };

/* What is to happen to this call. Waits here where it is to be slow; sets errno where it is to fail. */
static enum fault meddle(const char *call, int fd) {
    int before = errno;
    const char *file = ledger_file(fd);
    if (!file) {
        errno = before;
        return NONE;
    }
    enum fault fault = NONE;
    long wait_ms = 0, error = 0;
    pthread_mutex_lock(&lock);
    if (read_plan() && !strcmp(plan.call, call) && (!strcmp(plan.file, "any") || !strcmp(plan.file, file))) {
        long number = ++plan.seen;
        if (number >= plan.from && (!plan.times || number < plan.from + plan.times)) {
            note(call, file);
            if (!strcmp(plan.how, "slow"))
                wait_ms = plan.value;
            else if (!strcmp(plan.how, "short") || (!strcmp(plan.how, "full") && number == plan.from))
                fault = HALF;
            else {
                fault = FAIL;
                error = plan.value;
            }
        }
    }
    pthread_mutex_unlock(&lock);
    if (wait_ms) {
        struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    errno = fault == FAIL ? (int)error : before;
    return fault;
}

/* A write of one byte cannot be halved. */
static size_t part(enum fault fault, size_t bytes) { return fault == HALF && bytes > 1 ? bytes / 2 : bytes; }

ssize_t write(int fd, const void *bytes, size_t length) {
    enum fault fault = meddle("write", fd);
    return fault == FAIL ? -1 : syscall(SYS_write, fd, bytes, part(fault, length));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    enum fault fault = meddle("write", fd);
    return fault == FAIL ? -1 : syscall(SYS_pwrite64, fd, bytes, part(fault, length), at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

ssize_t read(int fd, void *bytes, size_t length) {
    return meddle("read", fd) == FAIL ? -1 : syscall(SYS_read, fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    return meddle("read", fd) == FAIL ? -1 : syscall(SYS_pread64, fd, bytes, length, at);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at) { return pread64(fd, bytes, length, at); }

int fsync(int fd) { return meddle("sync", fd) == FAIL ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return meddle("sync", fd) == FAIL ? -1 : (int)syscall(SYS_fdatasync, fd); }

int ftruncate64(int fd, off64_t length) {
    return meddle("truncate", fd) == FAIL ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
