// Opens a TAP as Go programs do (non-blocking, in the runtime's poller) and sends each frame of type
// 0x88b5 back. Built without cgo, it has no C library.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

func main() {
	fd, err := syscall.Open("/dev/net/tun", os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var request [40]byte
	copy(request[:], "go%d")
	request[16], request[17] = 0x02, 0x10 // IFF_TAP | IFF_NO_PI
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), 0x400454ca, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		fmt.Println(errno)
		os.Exit(2)
	}
	fmt.Println("is", string(request[:3]))
	syscall.SetNonblock(fd, true)
	file := os.NewFile(uintptr(fd), "/dev/net/tun")
	frame := make([]byte, 4096)
	for {
		length, err := file.Read(frame)
		if err != nil {
			fmt.Println("end", err)
			return
		}
		if length < 16 || frame[12] != 0x88 || frame[13] != 0xb5 {
			continue
		}
		copy(frame, frame[6:12])
		copy(frame[6:], []byte{2, 0, 0, 0, 0, 0x55})
		if frame[14] == 'x' {
			os.Exit(int(frame[15] - '0'))
		}
		if _, err := file.Write(frame[:length]); err != nil {
			fmt.Println(err)
		}
	}
}
