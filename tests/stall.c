// A disk that does not answer, for LD_PRELOAD: while the file that VIGIE_TEST_STALLS names exists, no fsync comes
// back. The first one that waits leaves a file beside it, with the extension `waits`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_while_stalled(void) {
    const char *stalls = getenv("VIGIE_TEST_STALLS");
    char waits[4096];
    while (stalls != NULL && access(stalls, F_OK) == 0) {
        snprintf(waits, sizeof waits, "%s.waits", stalls);
        close(open(waits, O_CREAT | O_WRONLY, 0600));
        usleep(10000);
    }
}

int fsync(int descriptor) {
    wait_while_stalled();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    wait_while_stalled();
    return (int)syscall(SYS_fdatasync, descriptor);
}
