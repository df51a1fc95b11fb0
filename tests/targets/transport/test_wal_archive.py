from dr.targets.transport.wal_archive import following

MEBIBYTE = 2**20


def test_the_files_after_a_wal_file_are_on_its_timeline_and_of_its_size() -> None:
    assert next(following("0000000A0000000100000007", 16 * MEBIBYTE)) == "0000000A0000000100000008"
    assert next(following("0000000100000001000000FF", 16 * MEBIBYTE)) == "000000010000000200000000"
    assert next(following("0000000100000001000000FF", MEBIBYTE)) == "000000010000000100000100"
    assert next(following("000000010000000100000003", 1024 * MEBIBYTE)) == "000000010000000200000000"
