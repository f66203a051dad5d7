/*
 * hypertap.h: an Ethernet interface of the machine, for a program in C or C++.
 *
 * There are two ways to one:
 *
 *   hypertap_tap_connect   a server makes it (`hypertap tap --listen=WHERE`); this program needs no rights
 *   hypertap_tap_open      this program is root, or has CAP_NET_ADMIN, and makes it for itself, with the
 *                          program `hypertap`, which must be installed
 *
 * Frames are whole: destination, source, type, payload; no preamble, no check sequence (IEEE 802.3).
 * One thread may receive while another sends. No call raises a signal, and none ends the process.
 *
 * Link with the flags that `pkg-config --cflags --libs hypertap` prints; for the static library, with
 * `pkg-config --static`.
 */

#ifndef HYPERTAP_H
#define HYPERTAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for every frame that can come, in bytes. */
#define HYPERTAP_MAX_FRAME 65543

/* Room for every error text, in bytes; a longer one is cut. */
#define HYPERTAP_MAX_ERROR 512

/* What calls return where they fail. All are negative, and more may come. */
enum hypertap_error {
    HYPERTAP_E_ARGUMENT = -1,   /* an argument or option is wrong; the text says which, and nothing was done */
    HYPERTAP_E_CONNECT = -2,    /* there is no way to the server */
    HYPERTAP_E_START = -3,      /* the program `hypertap` cannot be started */
    HYPERTAP_E_REFUSED = -4,    /* the interface cannot be made, for another reason than -1, -12 and -13 */
    HYPERTAP_E_NOT_READY = -5,  /* the interface was not there in time */
    HYPERTAP_E_CLOSED = -6,     /* the interface is gone, as is the connection */
    HYPERTAP_E_LENGTH = -7,     /* the frame cannot be sent for its length; nothing of it was */
    HYPERTAP_E_ROOM = -8,       /* the frame that came did not fit the buffer, and is lost */
    HYPERTAP_E_PROTOCOL = -9,   /* what came is no frame; the connection is of no more use */
    HYPERTAP_E_IO = -10,        /* the machine failed; the text says at what */
    HYPERTAP_E_INTERNAL = -11,  /* a defect of this library */
    HYPERTAP_E_RIGHT = -12,     /* the right to make an interface is missing, or the kernel's driver */
    HYPERTAP_E_NAME_TAKEN = -13 /* there is an interface of that name */
};

/* How frames are told apart in the stream. */
enum hypertap_framing {
    HYPERTAP_FRAMING_LE16 = 0,    /* each after its length, 16 bits, low byte first (--use-framed-protocol) */
    HYPERTAP_FRAMING_BE32 = 1,    /* each after its length, 32 bits, high byte first (--framing=qemu) */
    HYPERTAP_FRAMING_UNFRAMED = 2 /* bare; each tells its own length (--framing=unframed) */
};

/* An interface, while it is open. */
struct hypertap_tap;

/*
 * What an interface is to be. Set all of it to zero, then `size`, then what matters:
 *
 *     struct hypertap_tap_options options = { sizeof options };
 *
 * Strings are read during the call only.
 */
struct hypertap_tap_options {
    size_t size;         /* sizeof(struct hypertap_tap_options) */
    unsigned int mtu;    /* in bytes, 68 to 65521; 0: 1500. With it goes the longest frame that can be sent */
    int timeout_ms;      /* how long opening or connecting may take; 0: 10 seconds */
    int framing;         /* connect: enum hypertap_framing, as the server has it */
    const char *program; /* open: the program's path or name; NULL: hypertap, from PATH */
    const char *name;    /* open: the interface's name; NULL: tap0 or the next that is free */
    const char *mac;     /* open: the machine's own MAC address on it, 02:00:00:00:00:01; NULL: made up */
    const char *ipv4;    /* open: the machine's own address on it, 10.0.0.1/24; NULL: 172.30.0.1/24 */
    const char *ipv6;    /* open: the same of IPv6, fd00::1/64; NULL: none */
};

/*
 * Connects to a server, which makes the interface then, a moment later.
 *
 * `where` is an absolute path, a port of 127.0.0.1, or ADDR:PORT. `options` may be NULL.
 * Returns 0 and the interface in `*tap`, or an error, `*tap` being NULL then and the reason in `error`, as a
 * string of at most `error_size` bytes; `error` may be NULL.
 */
int hypertap_tap_connect(struct hypertap_tap **tap, const char *where,
                         const struct hypertap_tap_options *options, char *error, size_t error_size);

/*
 * Makes an interface, which is there and has its addresses when this returns. It lasts until
 * hypertap_tap_close, and no longer than this process. For the rest as hypertap_tap_connect.
 *
 * Where the process ignores SIGCHLD it does not while this runs, for the reason of a failure comes with a child's end.
 */
int hypertap_tap_open(struct hypertap_tap **tap, const struct hypertap_tap_options *options, char *error,
                      size_t error_size);

/*
 * Ends the connection, and so the interface; one of hypertap_tap_open is gone when this returns. No other
 * call may use `tap` meanwhile or later. NULL is allowed.
 */
void hypertap_tap_close(struct hypertap_tap *tap);

/*
 * Receives one frame that the machine sent, waiting for it at most `timeout_ms` milliseconds; 0: not at all,
 * -1: for ever.
 *
 * Returns its length in bytes, 0 when none came in time, or an error.
 */
int hypertap_tap_recv(struct hypertap_tap *tap, void *frame, size_t size, int timeout_ms);

/*
 * Sends one frame to the machine, waiting for room at most `timeout_ms` milliseconds, as above.
 *
 * Returns 1, or 0 when there was no room in time and nothing of the frame was taken, or an error. A frame is
 * taken whole: what of it has not left in time goes with the next call of this or of hypertap_tap_recv.
 */
int hypertap_tap_send(struct hypertap_tap *tap, const void *frame, size_t length, int timeout_ms);

/*
 * The descriptor to wait for with poll(2), for reading. Nothing else may be done with it. The library reads
 * ahead: wait only after hypertap_tap_recv with a timeout of 0 has returned 0. An error where `tap` is NULL.
 */
int hypertap_tap_fd(const struct hypertap_tap *tap);

/* The interface's name, valid until hypertap_tap_close; NULL where a server made it, which alone knows. */
const char *hypertap_tap_name(const struct hypertap_tap *tap);

/* The longest frame that can be sent, in bytes; 0 where `tap` is NULL. */
size_t hypertap_tap_max_frame(const struct hypertap_tap *tap);

/*
 * Writes the reason of the last error that hypertap_tap_recv or hypertap_tap_send returned for `tap`, as a string
 * of at most `size` bytes; an empty one where there was none.
 */
void hypertap_tap_error(const struct hypertap_tap *tap, char *text, size_t size);

/* The library's version, as 0.1.0. */
const char *hypertap_version(void);

#ifdef __cplusplus
}
#endif

#endif
