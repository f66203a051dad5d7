/*
 * Plays a machine beside this one on an Ethernet interface: answers ARP for an address, and the pings to it.
 *
 *     hypertap tap --listen=/tmp/lan --use-framed-protocol &      (as root)
 *     cc arp_answer.c $(pkg-config --cflags --libs hypertap) -o arp_answer
 *     ./arp_answer --connect /tmp/lan
 *     ping 172.30.0.2
 *
 * With --open in place of --connect WHERE it makes the interface itself, as root. The options that follow:
 * --address A.B.C.D, --count PINGS, --timeout SECONDS, --name NAME and --program FILE.
 */

#include <hypertap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char OUR_MAC[6] = { 0x02, 0, 0, 0, 0, 0x02 };

static unsigned char frame[HYPERTAP_MAX_FRAME];

static void swap(unsigned char *left, unsigned char *right, size_t length)
{
    while (length-- > 0) {
        unsigned char byte = left[length];
        left[length] = right[length];
        right[length] = byte;
    }
}

/* Makes an ARP request (RFC 826) for our address its answer. */
static int answer_arp(unsigned char *arp, size_t length, const unsigned char *address)
{
    static const unsigned char REQUEST[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
    if (length < 28 || memcmp(arp, REQUEST, 8) != 0 || memcmp(arp + 24, address, 4) != 0)
        return 0;
    arp[7] = 2;
    swap(arp + 8, arp + 18, 10);
    memcpy(arp + 8, OUR_MAC, 6);
    return 1;
}

/* Makes an ICMP echo request (RFC 792) to our address its reply. */
static int answer_ping(unsigned char *ip, size_t length, const unsigned char *address)
{
    size_t header = (size_t)(ip[0] & 15) * 4;
    unsigned long sum;
    if (length < 28 || ip[0] >> 4 != 4 || header < 20 || length < header + 8 || ip[9] != 1
        || memcmp(ip + 16, address, 4) != 0 || ip[header] != 8)
        return 0;
    swap(ip + 12, ip + 16, 4);
    /* The type goes from 8 to 0, so the check sum grows by as much (RFC 1624). */
    ip[header] = 0;
    sum = ((unsigned long)ip[header + 2] << 8) + ip[header + 3] + 0x800;
    sum = (sum & 0xffff) + (sum >> 16);
    ip[header + 2] = (unsigned char)(sum >> 8);
    ip[header + 3] = (unsigned char)sum;
    return 1;
}

/* Makes a frame its answer. Returns 2 for a ping, 1 for something else, 0 where there is no answer. */
static int answer(size_t length, const unsigned char *address)
{
    int kind = 0;
    if (length < 14)
        return 0;
    if (frame[12] == 8 && frame[13] == 6)
        kind = answer_arp(frame + 14, length - 14, address);
    else if (frame[12] == 8 && frame[13] == 0 && length > 14)
        kind = 2 * answer_ping(frame + 14, length - 14, address);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, OUR_MAC, 6);
    return kind;
}

static int serve(struct hypertap_tap *tap, const unsigned char *address, long count, int timeout_ms)
{
    char text[HYPERTAP_MAX_ERROR];
    long answered = 0;
    while (answered != count) {
        int length = hypertap_tap_recv(tap, frame, sizeof frame, timeout_ms);
        int kind = length > 0 ? answer((size_t)length, address) : 0;
        if (length == 0) {
            fprintf(stderr, "arp_answer: nothing came in time\n");
            return 1;
        }
        if (length < 0 || (kind > 0 && hypertap_tap_send(tap, frame, (size_t)length, -1) < 0)) {
            hypertap_tap_error(tap, text, sizeof text);
            fprintf(stderr, "arp_answer: %s\n", text);
            return 1;
        }
        if (kind == 2)
            answered++;
    }
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: arp_answer --connect WHERE | --open [--address A.B.C.D] [--count PINGS]\n"
                    "       [--timeout SECONDS] [--name NAME] [--program FILE]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct hypertap_tap_options options = { 0 };
    unsigned char address[4] = { 172, 30, 0, 2 };
    unsigned int part[4];
    const char *where = NULL;
    struct hypertap_tap *tap;
    char text[HYPERTAP_MAX_ERROR];
    int at, i, failed, open = 0, timeout_ms = -1;
    long count = -1;

    options.size = sizeof options;
    for (at = 1; at < argc; at++) {
        const char *option = argv[at];
        if (strcmp(option, "--open") == 0) {
            open = 1;
            continue;
        }
        if (++at == argc)
            return usage();
        if (strcmp(option, "--connect") == 0)
            where = argv[at];
        else if (strcmp(option, "--count") == 0)
            count = atol(argv[at]);
        else if (strcmp(option, "--timeout") == 0)
            timeout_ms = atoi(argv[at]) * 1000;
        else if (strcmp(option, "--name") == 0)
            options.name = argv[at];
        else if (strcmp(option, "--program") == 0)
            options.program = argv[at];
        else if (strcmp(option, "--address") == 0
                 && sscanf(argv[at], "%u.%u.%u.%u", &part[0], &part[1], &part[2], &part[3]) == 4)
            for (i = 0; i < 4; i++)
                address[i] = (unsigned char)part[i];
        else
            return usage();
    }
    if (open == (where != NULL))
        return usage();

    if (open)
        failed = hypertap_tap_open(&tap, &options, text, sizeof text);
    else
        failed = hypertap_tap_connect(&tap, where, &options, text, sizeof text);
    if (failed) {
        fprintf(stderr, "arp_answer: %s\n", text);
        return 1;
    }
    printf("ready: %s\n", open ? hypertap_tap_name(tap) : "connected");
    fflush(stdout);
    failed = serve(tap, address, count, timeout_ms);
    hypertap_tap_close(tap);
    return failed;
}
