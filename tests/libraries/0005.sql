BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE appearance (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	item_id INTEGER NOT NULL, 
	UNIQUE (item_id), 
	FOREIGN KEY(item_id) REFERENCES item (id) ON DELETE CASCADE
);
INSERT INTO "appearance" VALUES(1,1);
INSERT INTO "appearance" VALUES(2,2);
INSERT INTO "appearance" VALUES(3,3);
INSERT INTO "appearance" VALUES(4,4);
INSERT INTO "appearance" VALUES(5,5);
INSERT INTO "appearance" VALUES(6,6);
INSERT INTO "appearance" VALUES(7,7);
INSERT INTO "appearance" VALUES(8,8);
CREATE TABLE attribute (file_id INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE, name_id INTEGER NOT NULL REFERENCES attribute_name (id), place INTEGER NOT NULL, form TEXT NOT NULL, value NOT NULL, PRIMARY KEY (file_id, name_id, place)) WITHOUT ROWID;
INSERT INTO "attribute" VALUES(7,1,0,'text','Öko');
INSERT INTO "attribute" VALUES(7,2,0,'number',12.5);
INSERT INTO "attribute" VALUES(7,3,0,'list','38');
INSERT INTO "attribute" VALUES(7,3,1,'list','39');
CREATE TABLE attribute_name (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "attribute_name" VALUES(1,'brand');
INSERT INTO "attribute_name" VALUES(2,'price');
INSERT INTO "attribute_name" VALUES(3,'sizes');
CREATE TABLE "file" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	folder_id INTEGER NOT NULL, 
	name BLOB NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns INTEGER NOT NULL, 
	companions TEXT DEFAULT '' NOT NULL, 
	reason TEXT, 
	trouble TEXT, 
	UNIQUE (folder_id, name), 
	FOREIGN KEY(folder_id) REFERENCES folder (id) ON DELETE CASCADE
);
INSERT INTO "file" VALUES(1,1,X'62726F6B656E2E706E67',10,1795370849480673375,'','not a picture in a format that searchx reads',NULL);
INSERT INTO "file" VALUES(2,1,X'6E6F7465732E747874',28,1795370849480727518,'',NULL,NULL);
INSERT INTO "file" VALUES(3,1,X'7265642E706E67',136,1795370849480250555,'',NULL,NULL);
INSERT INTO "file" VALUES(4,2,X'626C75652E6A7067',1098,1795370849495920328,'',NULL,NULL);
INSERT INTO "file" VALUES(5,2,X'636F7079206F66207265642E706E67',136,1795370849480625610,'',NULL,NULL);
INSERT INTO "file" VALUES(6,3,X'63617074696F6E732E6A736F6E6C',56,1795370849496069583,'',NULL,NULL);
INSERT INTO "file" VALUES(7,4,X'73686F652D37',0,1795892633103521352,'',NULL,NULL);
CREATE TABLE folder (
	id INTEGER NOT NULL, 
	source_id INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	is_mount BOOLEAN DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (source_id, path), 
	FOREIGN KEY(source_id) REFERENCES source (id) ON DELETE CASCADE
);
INSERT INTO "folder" VALUES(1,1,X'2F686F6D652F616E6E2F70686F746F73',0);
INSERT INTO "folder" VALUES(2,1,X'2F686F6D652F616E6E2F70686F746F732F74726970',0);
INSERT INTO "folder" VALUES(3,2,X'2F686F6D652F616E6E',0);
INSERT INTO "folder" VALUES(4,3,X'636F6C6C656374696F6E3A6974656D73',0);
CREATE TABLE item (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind TEXT NOT NULL, 
	digest BLOB NOT NULL, 
	text TEXT, 
	width INTEGER, 
	height INTEGER, 
	UNIQUE (kind, digest), 
	CONSTRAINT kind_is_known CHECK (kind IN ('image', 'text'))
);
INSERT INTO "item" VALUES(1,'image',X'13197993B0E9963311F43443937B005AC690FE4F5AA0A3FE9B8F022CA9F8D3CD',NULL,64,48);
INSERT INTO "item" VALUES(2,'image',X'8D59FA4653CD90B38B58BE01B889ACAF4A74ED9DB5F8B1453E15BCABB2110BB9',NULL,64,48);
INSERT INTO "item" VALUES(3,'text',X'65B6B0C36B91BC5188A36796F3891A4480A7CD3D29AC11FEB36067466D9E3B16','a green field',NULL,NULL);
INSERT INTO "item" VALUES(4,'text',X'46EF65DDBECEFF8ACAEFEA74BD7DCAE26E2B0DA5ECB321FBA7A3848B8C73D07A','a yellow sun',NULL,NULL);
INSERT INTO "item" VALUES(5,'text',X'635DC746305A89407A86781A49E0949E9636B311A43BEFA751CBD83A93E8C506','Morning at sea',NULL,NULL);
INSERT INTO "item" VALUES(6,'text',X'0B281F95A81F0DD98AB26917D9AED82212E3CC92CCD3201351E1D70BEE6FEB52','Lighthouse, Küste',NULL,NULL);
INSERT INTO "item" VALUES(7,'text',X'0E3119B81D02A43E6701C7FB3C2E76590AAC1AC085D511A93393AD4FE1CEB675','a red wall',NULL,NULL);
INSERT INTO "item" VALUES(8,'text',X'AC57711B0E3CC487CBC2518D6AD8F3A8B257AF0E7825C2C028509BFE7562BF78','a pink shoe',NULL,NULL);
CREATE TABLE keyword (
	location_id INTEGER NOT NULL, 
	word TEXT NOT NULL, 
	PRIMARY KEY (location_id, word), 
	FOREIGN KEY(location_id) REFERENCES location (id) ON DELETE CASCADE
);
INSERT INTO "keyword" VALUES(4,'Lighthouse');
INSERT INTO "keyword" VALUES(4,'Küste');
CREATE TABLE library (
	id TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "library" VALUES('69a3b596495b4e218d63e8ef7161e963');
CREATE TABLE "location" (
	id INTEGER NOT NULL, 
	file_id INTEGER NOT NULL, 
	item_id INTEGER NOT NULL, 
	fragment TEXT DEFAULT '' NOT NULL, 
	subject BLOB, 
	page INTEGER, 
	line INTEGER, 
	start INTEGER, 
	stop INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(file_id) REFERENCES "file" (id) ON DELETE CASCADE, 
	FOREIGN KEY(item_id) REFERENCES item (id) ON DELETE CASCADE
);
INSERT INTO "location" VALUES(1,2,3,'line 1',NULL,NULL,1,0,13);
INSERT INTO "location" VALUES(2,2,4,'line 3',NULL,NULL,3,15,27);
INSERT INTO "location" VALUES(3,3,1,'',X'2F686F6D652F616E6E2F70686F746F732F7265642E706E67',NULL,NULL,NULL,NULL);
INSERT INTO "location" VALUES(4,4,2,'',X'2F686F6D652F616E6E2F70686F746F732F747269702F626C75652E6A7067',NULL,NULL,NULL,NULL);
INSERT INTO "location" VALUES(5,4,5,'caption',X'2F686F6D652F616E6E2F70686F746F732F747269702F626C75652E6A7067',NULL,NULL,0,14);
INSERT INTO "location" VALUES(6,4,6,'caption',X'2F686F6D652F616E6E2F70686F746F732F747269702F626C75652E6A7067',NULL,NULL,0,17);
INSERT INTO "location" VALUES(7,5,1,'',X'2F686F6D652F616E6E2F70686F746F732F747269702F636F7079206F66207265642E706E67',NULL,NULL,NULL,NULL);
INSERT INTO "location" VALUES(8,6,7,'line 1',X'2F686F6D652F616E6E2F70686F746F732F7265642E706E67',NULL,NULL,0,10);
INSERT INTO "location" VALUES(9,7,8,'',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE metadata (
	location_id INTEGER NOT NULL, 
	taken TEXT, 
	zone INTEGER, 
	taken_from TEXT, 
	latitude FLOAT, 
	longitude FLOAT, 
	altitude FLOAT, 
	camera TEXT, 
	lens TEXT, 
	orientation TEXT, 
	format TEXT, 
	bytes INTEGER, 
	title TEXT, 
	rating INTEGER, 
	PRIMARY KEY (location_id), 
	FOREIGN KEY(location_id) REFERENCES location (id) ON DELETE CASCADE
);
INSERT INTO "metadata" VALUES(3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'landscape','PNG',136,NULL,NULL);
INSERT INTO "metadata" VALUES(4,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'landscape','JPEG',1098,'Morning at sea',NULL);
INSERT INTO "metadata" VALUES(7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'landscape','PNG',136,NULL,NULL);
CREATE TABLE other_space (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	dim INTEGER NOT NULL, 
	has_served BOOLEAN DEFAULT '0' NOT NULL, 
	began FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
INSERT INTO "other_space" VALUES(1,'colour','colour-0',4,1,1795892633.5);
CREATE TABLE other_vector (
	item_id INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	checksum INTEGER, 
	PRIMARY KEY (item_id), 
	FOREIGN KEY(item_id) REFERENCES item (id) ON DELETE CASCADE
);
INSERT INTO "other_vector" VALUES(1,X'973897B897B8572F',1322151141);
INSERT INTO "other_vector" VALUES(2,X'9AB89AB890385C2F',2119531242);
INSERT INTO "other_vector" VALUES(3,X'97B8973897B8572F',2000565893);
INSERT INTO "other_vector" VALUES(4,X'9738973897B8572F',4280867959);
INSERT INTO "other_vector" VALUES(5,X'000000000000003C',1246602222);
INSERT INTO "other_vector" VALUES(6,X'000000000000003C',1246602222);
INSERT INTO "other_vector" VALUES(7,X'973897B897B8572F',1322151141);
INSERT INTO "other_vector" VALUES(8,X'FC3AEE30D9369731',1493079506);
CREATE TABLE removal (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	item_id INTEGER NOT NULL
);
CREATE TABLE source (
	id INTEGER NOT NULL, 
	path BLOB NOT NULL, rules TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (path)
);
INSERT INTO "source" VALUES(1,X'2F686F6D652F616E6E2F70686F746F73','');
INSERT INTO "source" VALUES(2,X'2F686F6D652F616E6E2F63617074696F6E732E6A736F6E6C','');
INSERT INTO "source" VALUES(3,X'636F6C6C656374696F6E3A6974656D73','');
CREATE TABLE space (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	dim INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
INSERT INTO "space" VALUES(1,'colour','colour-1',4);
CREATE TABLE vector (
	item_id INTEGER NOT NULL, 
	data BLOB NOT NULL, checksum INTEGER, 
	PRIMARY KEY (item_id), 
	FOREIGN KEY(item_id) REFERENCES item (id) ON DELETE CASCADE
);
INSERT INTO "vector" VALUES(1,X'973897B897B8572F',1322151141);
INSERT INTO "vector" VALUES(2,X'9AB89AB890385C2F',2119531242);
INSERT INTO "vector" VALUES(3,X'97B8973897B8572F',2000565893);
INSERT INTO "vector" VALUES(4,X'9738973897B8572F',4280867959);
INSERT INTO "vector" VALUES(5,X'000000000000003C',1246602222);
INSERT INTO "vector" VALUES(6,X'000000000000003C',1246602222);
INSERT INTO "vector" VALUES(7,X'973897B897B8572F',1322151141);
INSERT INTO "vector" VALUES(8,X'FC3AEE30D9369731',1493079506);
CREATE TABLE words_due (
	id INTEGER NOT NULL, 
	item_id INTEGER, 
	subject BLOB, 
	PRIMARY KEY (id), 
	UNIQUE (item_id), 
	UNIQUE (subject)
);
CREATE INDEX folder_path ON folder (path);
CREATE INDEX location_of_item ON location (item_id);
CREATE INDEX file_skipped ON file (folder_id) WHERE reason IS NOT NULL OR trouble IS NOT NULL;
CREATE INDEX metadata_taken ON metadata (taken);
CREATE INDEX keyword_word ON keyword (word);
CREATE TRIGGER words_due_location_added AFTER INSERT ON location BEGIN INSERT INTO words_due (item_id) SELECT new.item_id WHERE new.item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = new.item_id); INSERT INTO words_due (subject) SELECT new.subject WHERE new.subject IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE subject = new.subject); END;
CREATE TRIGGER words_due_location_dropped AFTER DELETE ON location BEGIN INSERT INTO words_due (item_id) SELECT old.item_id WHERE old.item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = old.item_id); INSERT INTO words_due (subject) SELECT old.subject WHERE old.subject IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE subject = old.subject); END;
CREATE TRIGGER words_due_location_changed AFTER UPDATE ON location BEGIN INSERT INTO words_due (item_id) SELECT old.item_id WHERE old.item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = old.item_id); INSERT INTO words_due (item_id) SELECT new.item_id WHERE new.item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = new.item_id); INSERT INTO words_due (subject) SELECT old.subject WHERE old.subject IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE subject = old.subject); INSERT INTO words_due (subject) SELECT new.subject WHERE new.subject IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE subject = new.subject); END;
CREATE TRIGGER words_due_keyword_added AFTER INSERT ON keyword BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = new.location_id) WHERE (SELECT item_id FROM location WHERE id = new.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = new.location_id)); END;
CREATE TRIGGER words_due_keyword_dropped AFTER DELETE ON keyword BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = old.location_id) WHERE (SELECT item_id FROM location WHERE id = old.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = old.location_id)); END;
CREATE TRIGGER words_due_keyword_changed AFTER UPDATE ON keyword BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = old.location_id) WHERE (SELECT item_id FROM location WHERE id = old.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = old.location_id)); INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = new.location_id) WHERE (SELECT item_id FROM location WHERE id = new.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = new.location_id)); END;
CREATE TRIGGER words_due_title_added AFTER INSERT ON metadata WHEN new.title IS NOT NULL BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = new.location_id) WHERE (SELECT item_id FROM location WHERE id = new.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = new.location_id)); END;
CREATE TRIGGER words_due_title_dropped AFTER DELETE ON metadata WHEN old.title IS NOT NULL BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = old.location_id) WHERE (SELECT item_id FROM location WHERE id = old.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = old.location_id)); END;
CREATE TRIGGER words_due_title_changed AFTER UPDATE OF location_id, title ON metadata BEGIN INSERT INTO words_due (item_id) SELECT (SELECT item_id FROM location WHERE id = new.location_id) WHERE (SELECT item_id FROM location WHERE id = new.location_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = (SELECT item_id FROM location WHERE id = new.location_id)); END;
CREATE TRIGGER words_due_item_dropped AFTER DELETE ON item BEGIN INSERT INTO words_due (item_id) SELECT old.id WHERE old.id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = old.id); END;
CREATE TRIGGER words_due_item_changed AFTER UPDATE OF kind, text ON item BEGIN INSERT INTO words_due (item_id) SELECT new.id WHERE new.id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = new.id); INSERT INTO words_due (subject) SELECT DISTINCT subject FROM location WHERE item_id = new.id AND subject IS NOT NULL AND subject NOT IN (SELECT subject FROM words_due WHERE subject IS NOT NULL); END;
CREATE TRIGGER words_due_file_renamed AFTER UPDATE OF name ON file BEGIN INSERT INTO words_due (item_id) SELECT DISTINCT item_id FROM location WHERE file_id = new.id AND item_id NOT IN (SELECT item_id FROM words_due WHERE item_id IS NOT NULL); END;
CREATE INDEX location_of_file ON location (file_id, id, item_id);
CREATE INDEX location_of_subject ON location (subject, item_id) WHERE subject IS NOT NULL;
CREATE INDEX item_of_kind ON item (kind, width, height);
CREATE INDEX metadata_camera ON metadata (camera) WHERE camera IS NOT NULL;
CREATE INDEX metadata_lens ON metadata (lens) WHERE lens IS NOT NULL;
CREATE INDEX metadata_format ON metadata (format) WHERE format IS NOT NULL;
CREATE INDEX metadata_rating ON metadata (rating) WHERE rating IS NOT NULL;
CREATE INDEX metadata_place ON metadata (latitude, longitude) WHERE latitude IS NOT NULL;
CREATE INDEX attribute_value ON attribute (name_id, form, value, file_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('item',8);
INSERT INTO "sqlite_sequence" VALUES('file',7);
INSERT INTO "sqlite_sequence" VALUES('removal',0);
INSERT INTO "sqlite_sequence" VALUES('appearance',8);
CREATE VIRTUAL TABLE image_words USING fts5(name, caption, keyword, tokenize = 'ascii', detail = 'column');
CREATE VIRTUAL TABLE text_words USING fts5(name, passage, tokenize = 'ascii', detail = 'column');
CREATE VIRTUAL TABLE image_terms USING fts5vocab(image_words, 'row');
CREATE VIRTUAL TABLE text_terms USING fts5vocab(text_words, 'row');
INSERT INTO image_words (rowid, name, caption, keyword) VALUES (1, 'red png ·red·png ·red copy of ·copy·of·red·png ·copy·of·red', 'a red wall', '');
INSERT INTO image_words (rowid, name, caption, keyword) VALUES (2, 'blue jpg ·blue·jpg ·blue', 'morning at sea lighthouse kuste', 'morning at sea kuste lighthouse');
INSERT INTO text_words (rowid, name, passage) VALUES (3, 'notes txt ·notes·txt ·notes', 'a green field');
INSERT INTO text_words (rowid, name, passage) VALUES (4, 'notes txt ·notes·txt ·notes', 'a yellow sun');
INSERT INTO text_words (rowid, name, passage) VALUES (5, 'blue jpg ·blue·jpg ·blue', 'morning at sea');
INSERT INTO text_words (rowid, name, passage) VALUES (6, 'blue jpg ·blue·jpg ·blue', 'lighthouse kuste');
INSERT INTO text_words (rowid, name, passage) VALUES (7, 'captions jsonl ·captions·jsonl ·captions', 'a red wall');
INSERT INTO text_words (rowid, name, passage) VALUES (8, 'shoe 7 ·shoe·7', 'a pink shoe');
COMMIT;
