"""Files and folders on a disk or in a bucket: reading, listing, atomic writing, and leases."""
