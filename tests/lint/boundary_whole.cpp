// Links the whole libvirt adapter, used or not, so that its imports can be compared with the boundary table.
int main() { return 0; }
